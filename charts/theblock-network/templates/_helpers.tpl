{{- define "network.labels" -}}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/part-of: {{ .Values.network.name }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* One resource of ours. Takes (list $ kind name spec). */}}
{{- define "network.resource" -}}
{{- $top := index . 0 -}}
apiVersion: theblock.dev/v1alpha1
kind: {{ index . 1 }}
metadata:
  name: {{ index . 2 }}
  namespace: {{ $top.Release.Namespace }}
  labels:
    {{- include "network.labels" $top | nindent 4 }}
  {{- with $top.Values.commonAnnotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  {{- toYaml (index . 3) | nindent 2 }}
{{- end }}

{{- define "network.database" -}}
{{ .Values.postgres.name | default (printf "%s-db" .Values.network.name) }}
{{- end }}

{{- define "network.databaseSelector" -}}
app.kubernetes.io/name: postgres
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "network.databaseLabels" -}}
app.kubernetes.io/name: postgres
app.kubernetes.io/component: database
{{ include "network.labels" . }}
{{- end }}
