{{/* Labels of every object: (list context component). Helm adds managed-by itself. */}}
{{- define "agentid.labels" -}}
{{- $context := index . 0 -}}
app.kubernetes.io/name: agentid
app.kubernetes.io/component: {{ index . 1 }}
app.kubernetes.io/part-of: agentid
app.kubernetes.io/version: {{ $context.Chart.AppVersion | quote }}
{{- end }}

{{/* What selects the pods of a component; it cannot be changed once installed. */}}
{{- define "agentid.selector" -}}
app.kubernetes.io/name: agentid
app.kubernetes.io/component: {{ . }}
{{- end }}

{{/* The image; a digest wins over a tag. */}}
{{- define "agentid.image" -}}
{{- with .Values.image -}}
{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end -}}
{{- end }}

{{/* What Pod Security `restricted` asks of a pod. */}}
{{- define "agentid.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{/* And of a container. */}}
{{- define "agentid.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{/* Where the pods of a component run: (list context component values). */}}
{{- define "agentid.placement" -}}
{{- $values := index . 2 -}}
{{- with $values.priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- with $values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.topologySpreadConstraints }}
topologySpreadConstraints:
  {{- range . }}
  - {{- toYaml . | nindent 4 }}
    labelSelector:
      matchLabels: {{- include "agentid.selector" (index $ 1) | nindent 8 }}
  {{- end }}
{{- end }}
{{- with (index . 0).Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . | quote }}
  {{- end }}
{{- end }}
{{- end }}

{{/* Probes: both processes answer on the port `probes`, from the moment they start. */}}
{{- define "agentid.probes" -}}
livenessProbe:
  httpGet: {path: /healthz, port: probes}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
readinessProbe:
  httpGet: {path: /readyz, port: probes}
  periodSeconds: 5
  timeoutSeconds: 5
{{- end }}

{{/* At most one pod of a component is evicted at a time: (list context component values). */}}
{{- define "agentid.disruptionBudget" -}}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: agentid-{{ index . 1 }}
  namespace: {{ (index . 0).Release.Namespace | quote }}
  labels: {{- include "agentid.labels" . | nindent 4 }}
spec:
  maxUnavailable: {{ (index . 2).maxUnavailable }}
  selector:
    matchLabels: {{- include "agentid.selector" (index . 1) | nindent 6 }}
  # A pod that is not ready protects nothing, and must not keep a node from being drained.
  unhealthyPodEvictionPolicy: AlwaysAllow
{{- end }}

{{/* Rules of a NetworkPolicy: a dict of ports and their peers. No peers, no rule. */}}
{{- define "agentid.ingress" -}}
{{- range $port, $peers := . }}
{{- if $peers }}
- ports: [{port: {{ $port }}, protocol: TCP}]
  from: {{- toYaml $peers | nindent 4 }}
{{- end }}
{{- end }}
{{- end }}

{{/* Not empty where MutatingAdmissionPolicies are served. Without a cluster, as in `helm template`, Helm
     knows its version and no kinds; that every cluster has Namespaces tells the two apart. */}}
{{- define "agentid.mutatingPolicies" -}}
{{- $served := .Capabilities.APIVersions -}}
{{- if $served.Has "v1/Namespace" -}}
{{- if $served.Has "admissionregistration.k8s.io/v1/MutatingAdmissionPolicy" }}served{{ end -}}
{{- else if semverCompare ">=1.36.0-0" .Capabilities.KubeVersion.Version -}}
served
{{- end -}}
{{- end }}


{{/* What a pod that lacks its volume is told to do; it stands in a string of CEL, so without quotes. */}}
{{- define "agentid.withoutVolume" -}}
{{- if eq .Values.admission.mode "Webhook" -}}
the webhook of agentid mounts it, and did not see this pod: it was away, or does not serve this namespace;
 try again, which a controller of pods does by itself, or see kubectl agentid doctor
{{- else if eq .Values.admission.mode "Policy" -}}
there is no AgentIdentity of this name in this namespace: kubectl get agentidentities lists them;
 create it, or correct the label
{{- else -}}
nothing mounts it in this cluster (admission.mode None): write it as docs/operations/install.md shows
{{- end -}}
{{- end }}

{{/* CEL that has containers of a kind (`containers`, `initContainers`) mount the volume `agentid`: one patch
     for what a container lacks, none for what its author wrote. */}}
{{- define "agentid.mounting" -}}
has(object.spec.{{ . }}) ? object.spec.{{ . }}.transformList(i, c,
size(variables.chosen) == 0 || c.name in variables.chosen,
(c.?volumeMounts.orValue([]).exists(m,
m.name == 'agentid' || m.mountPath in ['/var/run/agentid', '/var/run/agentid/']) ? []
: has(c.volumeMounts)
? [JSONPatch{op: "add", path: "/spec/{{ . }}/" + string(i) + "/volumeMounts/-", value: variables.mount}]
: [JSONPatch{op: "add", path: "/spec/{{ . }}/" + string(i) + "/volumeMounts", value: [variables.mount]}]) +
(variables.env.all(e, c.?env.orValue([]).exists(a, a.name == e.name)) ? []
: has(c.env)
? variables.env.filter(e, !c.env.exists(a, a.name == e.name)).map(e,
JSONPatch{op: "add", path: "/spec/{{ . }}/" + string(i) + "/env/-", value: e})
: [JSONPatch{op: "add", path: "/spec/{{ . }}/" + string(i) + "/env", value: variables.env}])
).flatten() : []
{{- end }}

{{/* Rights to find out whether the door PodCertificate is guarded, and so open. */}}
{{- define "agentid.doors" -}}
- apiGroups: [admissionregistration.k8s.io]
  resources: [validatingadmissionpolicies, validatingadmissionpolicybindings]
  resourceNames: [agentid-pod-certificate-requests]
  verbs: [get]  # the door for pods' certificates is closed where it is absent
- apiGroups: [storage.k8s.io]
  resources: [csidrivers]
  resourceNames: [csi.agentid.dev]
  verbs: [get]  # likewise the door of the node plugin
{{- end }}
