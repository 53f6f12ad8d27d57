// Checks objects of others than Kubernetes, a JSON list on standard input, with
// their own projects' schemas. Says what is wrong and ends with 1.
import { text } from 'node:stream/consumers';

const packages = new URL('../../.state/ship/node/node_modules/@kubernetes-models/', import.meta.url);
const MODELS = {
  ExternalSecret: 'external-secrets/external-secrets.io/v1/ExternalSecret.js',
  HTTPRoute: 'gateway-api/gateway.networking.k8s.io/v1/HTTPRoute.js',
  PrometheusRule: 'prometheus-operator/monitoring.coreos.com/v1/PrometheusRule.js',
  ServiceMonitor: 'prometheus-operator/monitoring.coreos.com/v1/ServiceMonitor.js',
};

for (const object of JSON.parse(await text(process.stdin))) {
  const { kind, apiVersion } = object;
  const { [kind]: Model } = await import(new URL(MODELS[kind], packages));
  try {
    if (apiVersion !== Model.apiVersion) throw new Error(`apiVersion is not ${Model.apiVersion}`);
    new Model(object).validate();
  } catch (error) {
    console.log(`${kind}: ${error.message}`);
    process.exitCode = 1;
  }
}
