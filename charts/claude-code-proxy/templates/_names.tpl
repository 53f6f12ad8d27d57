{{/* What everything is called, and the labels that find it. */}}

{{- define "fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- default $full .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{/* Of one component: list of the root and its name. */}}
{{- define "selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: {{ default $root.Chart.Name $root.Values.nameOverride }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{- define "labels" -}}
{{- $root := index . 0 -}}
{{ include "selector" . }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version }}
{{- end -}}

{{- define "image" -}}
{{- $root := index . 0 -}}
{{- $image := $root.Values.image -}}
{{- $prefix := ternary (printf "%s/" (trimSuffix "/" $image.repository)) "" (ne $image.repository "") -}}
{{- $digest := get $image.digest (index . 1) -}}
{{- $version := ternary (printf "@%s" $digest) (printf ":%s" (default $root.Chart.AppVersion $image.tag)) (ne $digest "") -}}
{{ $prefix }}claude-code-{{ index . 1 }}{{ $version }}
{{- end -}}

{{- define "secretName" -}}
{{- default (include "fullname" .) .Values.secret.name -}}
{{- end -}}

{{- define "controlUrl" -}}
{{- if .Values.proxy.controlUrl -}}
{{- .Values.proxy.controlUrl -}}
{{- else -}}
{{- ternary "https" "http" (ne .Values.sync.tls.controlSecret "") }}://{{ include "fullname" . }}-control:8001
{{- end -}}
{{- end -}}
