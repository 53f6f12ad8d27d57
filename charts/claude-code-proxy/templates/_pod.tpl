{{/* What the pods of both programs have in common. */}}

{{/*
Variables from the Secret, from the chart and from settings, the last of which win
over nothing: the schema refuses what the chart sets. A dict of root, values, must
and may (variables from the Secret), given (variables of the chart). What settings name
as …_ARN or …_FILE is not looked for in the Secret.
*/}}
{{- define "env" -}}
{{- $settings := mergeOverwrite (dict) .root.Values.settings .values.settings -}}
{{- $secret := include "secretName" .root -}}
{{- $others := dict "PROXY_ADMIN_USERNAME" "PROXY_ADMIN_CREDENTIALS_ARN" "PROXY_ADMIN_PASSWORD_HASH" "PROXY_ADMIN_CREDENTIALS_ARN" "PROXY_LOCAL_ENCRYPTION_KEY" "PROXY_KMS_KEY_ID" -}}
{{- $must := .must -}}
{{- $isThere := or .root.Values.secret.name .root.Values.externalSecret.enabled -}}
{{- range concat .must .may }}
{{- $other := default (printf "%s_ARN" .) (get $others .) -}}
{{- if not (or (hasKey $settings .) (hasKey $settings $other) (hasKey $settings (printf "%s_FILE" .))) }}
{{- if and (has . $must) (not $isThere) }}
{{- fail (printf "secret.name: must be set, or externalSecret.enabled, because %s comes from there" .) }}
{{- end }}
- name: {{ . }}
  valueFrom:
    secretKeyRef:
      name: {{ $secret }}
      key: {{ . }}
      {{- if not (has . $must) }}
      optional: true
      {{- end }}
{{- end }}
{{- end }}
{{- range $name, $value := merge .given $settings }}
- name: {{ $name }}
  value: {{ $value | quote }}
{{- end }}
{{- with .values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Around the containers: a dict of root, values, component, volumes. */}}
{{- define "podSettings" -}}
serviceAccountName: {{ include "fullname" .root }}
# The programs ask nothing of Kubernetes.
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  seccompProfile:
    type: RuntimeDefault
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- $spread := .values.topologySpread }}
{{- if and $spread.enabled (ne .component "migration") }}
topologySpreadConstraints:
  {{- range list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
  - maxSkew: 1
    topologyKey: {{ . }}
    whenUnsatisfiable: {{ $spread.whenUnsatisfiable }}
    labelSelector:
      matchLabels:
        {{- include "selector" (list $.root $.component) | nindent 8 }}
  {{- end }}
{{- end }}
{{- with concat .volumes .values.extraVolumes }}
volumes:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "containerSecurity" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
{{- end -}}

{{/* Kubelet asks on the operators' port. */}}
{{- define "probes" -}}
startupProbe:
  httpGet: { path: /livez, port: ops }
  periodSeconds: 1
  failureThreshold: 60
livenessProbe:
  httpGet: { path: /livez, port: ops }
  periodSeconds: 10
  timeoutSeconds: 5
readinessProbe:
  httpGet: { path: /readyz, port: ops }
  periodSeconds: 5
  timeoutSeconds: 3
{{- end -}}

{{/*
Ports that a program reaches upstream: those that are given, and those of the URLs
in its settings. A dict of root and values; JSON, because a template makes texts only.
*/}}
{{- define "upstreamPorts" -}}
{{- $ports := list -}}
{{- range .root.Values.networkPolicy.upstreamPorts }}{{ $ports = append $ports (int . | toString) }}{{ end -}}
{{- /* The console prints it; nobody goes there. */ -}}
{{- $urls := values (omit (mergeOverwrite (dict) .root.Values.settings .values.settings) "PROXY_PUBLIC_URL") -}}
{{- range .values.extraEnv }}{{ $urls = append $urls (default "" .value) }}{{ end -}}
{{- range $urls }}
{{- if regexMatch "^https?://" . }}{{ $ports = append $ports (include "port" .) }}{{ end -}}
{{- end -}}
{{- $ports | uniq | sortAlpha | toJson -}}
{{- end -}}

{{- define "port" -}}
{{- $url := urlParse . -}}
{{- $port := regexFind ":[0-9]+$" $url.host | trimPrefix ":" -}}
{{- default (ternary "443" "80" (eq $url.scheme "https")) $port -}}
{{- end -}}
