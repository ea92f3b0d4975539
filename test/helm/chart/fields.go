package chart

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// A field is where a value of the chart stands in objects of the manifests.
type field struct {
	kind, name string // of the object; without a name, all objects of the kind
	path       string // keys with dots between them; an item of a list is named by its number or its name
	change     func(*node)
}

// put replaces what is there.
func put(text string) func(*node) {
	return func(n *node) { *n = node{form: isText, text: text} }
}

// more adds entries to a map or items to a list.
func more(when, text string) func(*node) { return entry("", when, text) }

// entry adds one entry to a map.
func entry(key, when, text string) func(*node) {
	return func(n *node) {
		n.parts = append(n.parts, part{key: key, when: when, value: node{form: isText, text: text}})
	}
}

// items replaces the items of a list from first up to last.
func items(first, last int, text string) func(*node) {
	return func(n *node) {
		n.parts = slices.Replace(n.parts, first, last, part{value: node{form: isText, text: text}})
	}
}

// swap replaces the item of a list that is a scalar.
func swap(scalar any, text string) func(*node) {
	return func(n *node) {
		for i, p := range n.parts {
			if p.value.form == isScalar && p.value.scalar == scalar {
				n.parts[i].value = node{form: isText, text: text}
			}
		}
	}
}

// only puts the item of a list that has a name under a condition.
func only(name, when string) func(*node) {
	return func(n *node) {
		for i, p := range n.parts {
			if p.value.isNamed(name) {
				n.parts[i].when = when
			}
		}
	}
}

func toYAML(values string) string { return "{{- toYaml " + values + " | nindent {{INDENT}} }}" }

func include(template, values string) string {
	return `{{- include "` + template + `" ` + values + " | nindent {{INDENT}} }}"
}

// fields returns what users may set, but for the switches of components.
func fields() []field {
	all := podFields()
	all = append(all, programFields("gridlatch", ".Values")...)
	all = append(all, programFields("gridlatch-certs", ".Values.certificates")...)
	all = append(all, programFields("gridlatch-export", ".Values.exporter")...)
	all = append(all,
		field{"Deployment", "gridlatch", podPath + ".priorityClassName", put("{{ .Values.priorityClassName | quote }}")},
		field{"Deployment", "gridlatch", "spec.replicas", put("{{ .Values.replicas }}")},
		field{"Deployment", "gridlatch", podPath + ".volumes.ledger-database.secret.secretName", put("{{ .Values.ledgerDatabase.secretName | quote }}")},
		field{"Deployment", "gridlatch", containerPath + ".args", swap("--keda-namespace=keda", "--keda-namespace={{ .Values.keda.namespace }}")},
		field{"PodMonitor", "", "metadata.labels", more(".Values.monitoring.labels", toYAML(".Values.monitoring.labels"))},
		field{"PrometheusRule", "", "metadata.labels", more(".Values.monitoring.labels", toYAML(".Values.monitoring.labels"))},
		field{"Deployment", "gridlatch-export", containerPath + ".env.1.value", put("{{ .Values.exporter.goMemoryLimit | quote }}")},
		field{"PrometheusRule", "", "spec.groups", only("gridlatch-export", ".Values.exporter.enabled")},
		field{"Role", "gridlatch-export", "rules.1.resourceNames", more("", include("gridlatch.secretNames", "."))},
	)
	return append(all, slices.Concat(hostFields(), networkFields())...)
}

const (
	podPath       = "spec.template.spec"
	containerPath = podPath + ".containers.0"
)

// podFields are those of the pods of all Deployments.
func podFields() []field {
	all := []field{
		{"Deployment", "", "spec.template.metadata.labels", more(".Values.podLabels", toYAML(".Values.podLabels"))},
		{"Deployment", "", "spec.template.metadata", entry("annotations", ".Values.podAnnotations", toYAML(".Values.podAnnotations"))},
		{"Deployment", "", containerPath + ".image", put(`{{ include "gridlatch.image" . | quote }}`)},
		{"Deployment", "", containerPath, entry("imagePullPolicy", ".Values.image.pullPolicy", "{{ .Values.image.pullPolicy }}")},
	}
	for _, key := range []string{"imagePullSecrets", "nodeSelector", "tolerations", "affinity"} {
		all = append(all, field{"Deployment", "", podPath, entry(key, ".Values."+key, toYAML(".Values."+key))})
	}
	return all
}

// programFields are those of one program, whose own values are below values.
func programFields(deployment, values string) []field {
	return []field{
		{"Deployment", deployment, containerPath + ".resources", put(toYAML(values + ".resources"))},
		{"Deployment", deployment, containerPath + ".args", more(values+".args", toYAML(values+".args"))},
		{"Deployment", deployment, containerPath + ".env", more(values+".env", toYAML(values+".env"))},
	}
}

// hostFields let the controller listen on its node. Two pods cannot have one port of a node, so an upgrade ends a pod
// before it starts the next one.
func hostFields() []field {
	const (
		kind, name = "Deployment", "gridlatch"
		when       = ".Values.hostNetwork"
	)
	return []field{
		{kind, name, podPath, entry("hostNetwork", when, "true")},
		{kind, name, podPath, entry("dnsPolicy", when, "ClusterFirstWithHostNet")},
		{kind, name, "spec", entry("strategy", when, "{rollingUpdate: {maxSurge: 0, maxUnavailable: 1}}")},
	}
}

// networkFields are the addresses that the manifests mark with EDIT.
func networkFields() []field {
	const (
		kind      = "NetworkPolicy"
		export    = "gridlatch-export"
		addresses = "gridlatch.addresses"
		outside   = "gridlatch.addressesOutside"
		apiServer = ".Values.networkPolicy.controlPlane.addresses"
	)
	ports := items(0, 2, include("gridlatch.ports", ".Values.networkPolicy.controlPlane.ports"))
	return []field{
		{kind, "gridlatch", "spec.ingress.0.from", items(0, 2, include(addresses, apiServer))},
		{kind, "gridlatch", "spec.ingress.2.from.0.namespaceSelector", put("{matchLabels: {kubernetes.io/metadata.name: {{ .Values.keda.namespace | quote }}}}")},
		{kind, "gridlatch", "spec.egress.0.to", items(0, 2, include(addresses, apiServer))},
		{kind, "gridlatch", "spec.egress.0.ports", ports},
		{kind, "gridlatch", "spec.egress", more(".Values.networkPolicy.egress", toYAML(".Values.networkPolicy.egress"))},
		{kind, "gridlatch-certs", "spec.egress.0.to", items(0, 2, include(addresses, apiServer))},
		{kind, "gridlatch-certs", "spec.egress.0.ports", ports},
		{kind, export, "spec.egress.0.to", items(1, 3, include(addresses, ".Values.networkPolicy.dns.addresses"))},
		{kind, export, "spec.egress.1.to", items(0, 2, include(outside, apiServer))},
		{kind, export, "spec.egress.1.ports", ports},
		{kind, export, "spec.egress.2.to", items(0, 2, include(outside, ".Values.networkPolicy.providers.addresses"))},
		{kind, export, "spec.egress.2.ports", items(0, 4, include("gridlatch.ports", ".Values.networkPolicy.providers.ports"))},
	}
}

// set changes the object where the field is in it.
func (f field) set(object *node) error {
	n := object
	for key := range strings.SplitSeq(f.path, ".") {
		next := n.at(key)
		if next == nil {
			return fmt.Errorf("%s %s has no %s in %s", f.kind, f.name, key, f.path)
		}
		n = next
	}
	f.change(n)
	return nil
}

// isNamed reports whether an item of a list has a name.
func (n *node) isNamed(name string) bool {
	found := n.at("name")
	return n.form == isMap && found != nil && found.scalar == name
}

// at returns the entry or the item with a key, or nil.
func (n *node) at(key string) *node {
	if i, err := strconv.Atoi(key); err == nil && n.form == isList {
		if i >= len(n.parts) {
			return nil
		}
		return &n.parts[i].value
	}
	i := slices.IndexFunc(n.parts, func(p part) bool { return n.form == isMap && p.key == key || n.form == isList && p.value.isNamed(key) })
	if i < 0 {
		return nil
	}
	return &n.parts[i].value
}
