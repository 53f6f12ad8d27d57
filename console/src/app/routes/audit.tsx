import { Audit } from '@/features/audit/audit';

export const AuditRoute = Audit;
