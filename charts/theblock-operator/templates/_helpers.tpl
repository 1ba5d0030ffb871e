{{/* Labels that select the operator's pods; the members' network policies rely on the first. */}}
{{- define "operator.selector" -}}
app.kubernetes.io/name: theblock-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "operator.labels" -}}
{{ include "operator.selector" . }}
app.kubernetes.io/component: operator
app.kubernetes.io/part-of: theblock
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "operator.name" -}}
{{- if contains "theblock-operator" .Release.Name -}}
{{ .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else -}}
{{ printf "%s-theblock-operator" .Release.Name | trunc 50 | trimSuffix "-" }}
{{- end -}}
{{- end }}

{{/* Cluster-wide objects carry the namespace, so that several releases can stand beside each other. */}}
{{- define "operator.clusterName" -}}
{{ printf "%s-%s" .Release.Namespace (include "operator.name" .) | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "operator.metricsApi" -}}
{{ include "operator.name" . }}-metrics
{{- end }}

{{- define "operator.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{- define "operator.nodeImage" -}}
{{ .Values.nodeImage | default (printf "theblock-node:%s" .Chart.AppVersion) }}
{{- end }}

{{- define "operator.proverImage" -}}
{{ .Values.proverImage | default (printf "theblock-gpu:%s" .Chart.AppVersion) }}
{{- end }}

{{- define "operator.namespaces" -}}
{{ .Values.watchNamespaces | default (list .Release.Namespace) | sortAlpha | join "," }}
{{- end }}
