export function AuditRoute() {
  return null;
}
