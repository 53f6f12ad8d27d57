export function PricingRoute() {
  return null;
}
