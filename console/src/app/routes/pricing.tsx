import { Pricing } from '@/features/pricing/pricing';

export const PricingRoute = Pricing;
