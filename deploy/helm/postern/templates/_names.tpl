{{- define "postern.name" -}}
{{- default "postern" .Values.nameOverride | trunc 50 | trimSuffix "-" -}}
{{- end }}

{{/* postern for a release of that name, else <release>-postern. */}}
{{- define "postern.fullname" -}}
{{- $name := include "postern.name" . -}}
{{- if contains $name .Release.Name }}{{ .Release.Name | trunc 50 | trimSuffix "-" }}{{ else }}{{ printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" }}{{ end -}}
{{- end }}

{{- define "postern.router" -}}
{{ include "postern.fullname" . }}-router
{{- end }}

{{/* The headless name that Envoy asks. */}}
{{- define "postern.host" -}}
{{ include "postern.fullname" . }}.{{ .Release.Namespace }}.svc
{{- end }}

{{- define "postern.apiHost" -}}
{{ include "postern.fullname" . }}-api.{{ .Release.Namespace }}.svc
{{- end }}

{{/* The `iss` of tokens; each realm has one of its own. */}}
{{- define "postern.issuerUrl" -}}
{{- $url := default (printf "https://%s:9193" (include "postern.apiHost" .)) .Values.issuer.url -}}
{{- if .Values.realms }}{{ $url }}/realms/{realm}{{ else }}{{ $url }}{{ end -}}
{{- end }}

{{/* (list . "account") → its SPIFFE ID; the router's and Postern's accounts go by their values. */}}
{{- define "postern.id" -}}
{{- $top := index . 0 -}}
{{- $account := index . 1 -}}
{{- if eq $account "router" }}{{ $account = $top.Values.router.serviceAccountName }}{{ end -}}
{{- if eq $account "postern" }}{{ $account = $top.Values.serviceAccount.name }}{{ end -}}
spiffe://{{ $top.Values.trustDomain }}/ns/{{ $top.Release.Namespace }}/sa/{{ $account }}
{{- end }}

{{- define "postern.image" -}}
{{ .Values.image.repository }}{{ if .Values.image.digest }}@{{ .Values.image.digest }}{{ else }}:{{ default .Chart.AppVersion .Values.image.tag }}{{ end }}
{{- end }}

{{- define "postern.labels" -}}
app.kubernetes.io/instance: {{ .Release.Name }}
{{ include "postern.marks" . }}
{{- end }}

{{/* Beside a selector, which names the instance. */}}
{{- define "postern.marks" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: agentcube
{{- end }}

{{/* Of the Pods in which Postern runs. */}}
{{- define "postern.selector" -}}
app.kubernetes.io/name: {{ if eq .Values.layout "sidecar" }}router{{ else }}{{ include "postern.name" . }}{{ end }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "postern.routerSelector" -}}
app.kubernetes.io/name: router
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* Whether the chart runs the router. */}}
{{- define "postern.hasRouter" -}}
{{- if or .Values.router.enabled (eq .Values.layout "sidecar") }}true{{ end -}}
{{- end }}

{{- define "postern.deployment" -}}
{{- if eq .Values.layout "sidecar" }}{{ include "postern.router" . }}{{ else }}{{ include "postern.fullname" . }}{{ end -}}
{{- end }}

{{- define "postern.certificates" -}}
{{- if eq .Values.tls.source "spire" -}}
{ cert: /run/spire/certs/svid.pem, key: /run/spire/certs/svid_key.pem }
{{- else -}}
{ cert: /etc/postern/tls/tls.crt, key: /etc/postern/tls/tls.key }
{{- end -}}
{{- end }}

{{- define "postern.authority" -}}
{{- if eq .Values.tls.source "spire" }}/run/spire/certs/svid_bundle.pem{{ else }}/etc/postern/tls/ca.crt{{ end -}}
{{- end }}
