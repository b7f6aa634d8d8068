{{/* How the kubelet asks: over TLS at the Pod's address, or in the container where the admin listener is on loopback. */}}
{{- define "postern.probe" -}}
{{- $top := index . 0 -}}
{{- $path := index . 1 -}}
{{- if eq $top.Values.tls.source "none" -}}
exec:
  command:
    - /usr/local/bin/node
    - -e
    - "fetch('http://127.0.0.1:9192{{ $path }}').then(({ ok }) => process.exit(ok ? 0 : 1), () => process.exit(1))"
{{- else -}}
httpGet: { path: {{ $path }}, port: admin, scheme: HTTPS }
{{- end -}}
{{- end }}

{{/* Postern's container, in either layout. */}}
{{- define "postern.container" -}}
{{- $sidecar := eq .Values.layout "sidecar" -}}
name: postern
image: {{ include "postern.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
args: [serve, --config, /etc/postern/policy/postern.yaml]
{{- if $sidecar }}
# A sidecar container: started before Envoy, told to end after Envoy has ended.
restartPolicy: Always
{{- end }}
{{- $open := and (ne .Values.tls.source "none") true }}
{{- if or $open (not $sidecar) }}
ports:
  {{- if not $sidecar }}
  - { name: check, containerPort: 9191, protocol: TCP }
  {{- if .Values.extProc.enabled }}
  - { name: ext-proc, containerPort: 9194, protocol: TCP }
  {{- end }}
  {{- end }}
  {{- if $open }}
  - { name: admin, containerPort: 9192, protocol: TCP }
  {{- if .Values.issuer.enabled }}
  - { name: issuer, containerPort: 9193, protocol: TCP }
  {{- end }}
  {{- end }}
{{- end }}
startupProbe:
  {{- include "postern.probe" (list . "/livez") | nindent 2 }}
  periodSeconds: {{ $open | ternary 1 3 }}
  timeoutSeconds: {{ $open | ternary 2 5 }}
  failureThreshold: 60
readinessProbe:
  {{- include "postern.probe" (list . "/readyz") | nindent 2 }}
  periodSeconds: {{ $open | ternary 3 10 }}
  timeoutSeconds: {{ $open | ternary 2 5 }}
  failureThreshold: 2
livenessProbe:
  {{- include "postern.probe" (list . "/livez") | nindent 2 }}
  periodSeconds: {{ $open | ternary 10 30 }}
  timeoutSeconds: 5
  failureThreshold: 3
{{- if not $sidecar }}
lifecycle:
  # While the Envoys forget this address it goes on answering; SIGTERM comes after.
  preStop: { sleep: { seconds: {{ .Values.preStopSeconds }} } }
{{- end }}
resources:
  {{- toYaml .Values.resources | nindent 2 }}
securityContext:
  {{- if $sidecar }}
  runAsUser: 65532
  {{- end }}
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: { drop: [ALL] }
volumeMounts:
  # Never with subPath, which the kubelet does not update.
  - { name: policy, mountPath: /etc/postern/policy, readOnly: true }
  - { name: secrets, mountPath: /etc/postern/secrets, readOnly: true }
  {{- if eq .Values.tls.source "secret" }}
  - { name: postern-tls, mountPath: /etc/postern/tls, readOnly: true }
  {{- else if eq .Values.tls.source "spire" }}
  - { name: svid, mountPath: /run/spire/certs, readOnly: true }
  {{- end }}
  {{- if $sidecar }}
  - { name: check, mountPath: /run/postern }
  {{- end }}
  - { name: postern-tmp, mountPath: /tmp }
{{- end }}

{{/* spiffe-helper, a sidecar container before Postern. */}}
{{- define "postern.helper" -}}
name: spiffe-helper
image: {{ .Values.tls.helper.image | quote }}
restartPolicy: Always
args: [-config, /etc/spiffe-helper/helper.conf]
ports:
  - { name: helper-health, containerPort: 8081, protocol: TCP }
startupProbe: { httpGet: { path: /ready, port: helper-health }, periodSeconds: 1, failureThreshold: 120 }
livenessProbe: { httpGet: { path: /live, port: helper-health }, periodSeconds: 10, failureThreshold: 6 }
resources:
  {{- toYaml .Values.tls.helper.resources | nindent 2 }}
securityContext:
  # As Postern, which alone may read the key.
  runAsUser: 65532
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: { drop: [ALL] }
volumeMounts:
  - { name: spiffe-helper, mountPath: /etc/spiffe-helper, readOnly: true }
  - { name: spire-agent, mountPath: /run/spire/agent-sockets, readOnly: true }
  - { name: svid, mountPath: /run/spire/certs }
{{- end }}

{{- define "postern.volumes" -}}
- name: policy
  configMap:
    name: {{ include "postern.fullname" . }}-policy
    defaultMode: 0444
    {{- if .Values.realms }}
    items:
      - { key: postern.yaml, path: postern.yaml }
      {{- range $name, $_ := .Values.realms }}
      - { key: {{ printf "realm.%s.yaml" $name | quote }}, path: {{ printf "realms/%s.yaml" $name | quote }} }
      {{- end }}
    {{- end }}
- name: secrets
  secret: { secretName: {{ .Values.secrets.name }}, defaultMode: 0440 }
{{- if eq .Values.tls.source "secret" }}
- name: postern-tls
  secret: { secretName: {{ .Values.tls.secretName }}, defaultMode: 0440 }
{{- else if eq .Values.tls.source "spire" }}
- name: svid
  emptyDir: { medium: Memory, sizeLimit: 1Mi }
- name: spiffe-helper
  configMap: { name: {{ include "postern.fullname" . }}-spiffe-helper, defaultMode: 0444 }
{{- end }}
{{- if eq .Values.layout "sidecar" }}
- name: check
  emptyDir: { medium: Memory, sizeLimit: 1Mi }
{{- end }}
- name: postern-tmp
  emptyDir: { sizeLimit: 64Mi }
{{- end }}

{{/* (list . selector) → what all Pods of the chart have. */}}
{{- define "postern.pod" -}}
{{- $top := index . 0 -}}
{{- $selector := index . 1 -}}
automountServiceAccountToken: false
# Kubernetes would make POSTERN_PORT of a Service `postern`, and Postern reads it as a setting.
enableServiceLinks: false
{{- with $top.Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $top.Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $top.Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $top.Values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $top.Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
topologySpreadConstraints:
  {{- range list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
  - maxSkew: 1
    topologyKey: {{ . }}
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- $selector | nindent 8 }}
    matchLabelKeys: [pod-template-hash]
  {{- end }}
{{- end }}
