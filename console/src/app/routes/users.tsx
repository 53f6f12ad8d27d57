import { Users } from '@/features/users/users';

export const UsersRoute = Users;
