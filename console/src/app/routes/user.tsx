export function UserRoute() {
  return null;
}
