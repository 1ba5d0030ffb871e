{{- define "monitoring.labels" -}}
app.kubernetes.io/name: theblock-monitoring
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/part-of: theblock
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- with .Values.labels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "monitoring.rules" -}}
{{ .Files.Get "rules/theblock.yaml" | replace "CERTIFICATE_SECONDS" (.Values.rules.certificateSeconds | int64 | toString) }}
{{- end }}

{{- define "monitoring.namespaces" -}}
{{ .Values.monitors.namespaces | default (list .Release.Namespace) | toYaml }}
{{- end }}
