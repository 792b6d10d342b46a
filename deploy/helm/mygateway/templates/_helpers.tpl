{{- define "mygateway.name" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{ .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else -}}
{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 50 | trimSuffix "-" }}
{{- end -}}
{{- end -}}

{{- define "mygateway.labels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{- define "mygateway.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "mygateway.jwksSecret" -}}
{{- if .Values.tokens.jwksSecret -}}
{{ .Values.tokens.jwksSecret }}
{{- else if .Values.tokens.jwks -}}
{{ include "mygateway.name" . }}-keys
{{- end -}}
{{- end -}}

{{- define "mygateway.upstream" -}}
{{- if .Values.instances.enabled -}}
{{ include "mygateway.name" . }}-instances.{{ .Release.Namespace }}.svc.cluster.local:{{ .Values.instances.port }}
{{- else -}}
{{ required "instances.upstream: NAME:PORT of a headless Service is needed" .Values.instances.upstream }}
{{- end -}}
{{- end -}}

{{- define "mygateway.container" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{- define "mygateway.pod" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
seccompProfile: {type: RuntimeDefault}
{{- end -}}
