export function ProxiesRoute() {
  return null;
}
