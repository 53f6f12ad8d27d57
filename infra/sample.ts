/** Context variables that belong to nobody, for the tests and for `npm run synth`. */
export const SAMPLE = {
  domain_name: 'proxy.example.com',
  hosted_zone_id: 'Z0000000000000000000',
  admin_cidrs: '203.0.113.0/24',
  proxy_image: '111111111111.dkr.ecr.ap-northeast-2.amazonaws.com/claude-code-proxy:1.0.0',
  control_image: '111111111111.dkr.ecr.ap-northeast-2.amazonaws.com/claude-code-control:1.0.0',
};
