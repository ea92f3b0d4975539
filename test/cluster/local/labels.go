package local

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// NodeLabels are label values by key. A key with several values deals them out to the nodes in turn.
type NodeLabels map[string][]string

// Nodes with this label and value are simulated.
const (
	simulatedLabel = "type"
	simulatedValue = "kwok"
)

// defaultLabels are given to every node unless other values are asked for.
var defaultLabels = NodeLabels{
	"topology.kubernetes.io/region": {"local"},
	"topology.kubernetes.io/zone":   {"local-a", "local-b", "local-c"},
	"kubernetes.io/os":              {"linux"},
	"kubernetes.io/arch":            {"amd64"},
}

// ParseNodeLabels reads "key=value,key=value:value".
func ParseNodeLabels(text string) (NodeLabels, error) {
	labels := NodeLabels{}
	if text == "" {
		return labels, nil
	}
	for _, entry := range strings.Split(text, ",") {
		key, values, found := strings.Cut(entry, "=")
		if !found || key == "" {
			return nil, fmt.Errorf("node label %q is not key=value", entry)
		}
		labels[key] = strings.Split(values, ":")
	}
	return labels, nil
}

// String is the text that ParseNodeLabels reads.
func (l NodeLabels) String() string {
	var entries []string
	for _, key := range slices.Sorted(maps.Keys(l)) {
		entries = append(entries, key+"="+strings.Join(l[key], ":"))
	}
	return strings.Join(entries, ",")
}

// of gives the labels of the i-th node.
func (l NodeLabels) of(i int) map[string]string {
	labels := map[string]string{"kubernetes.io/hostname": nodeName(i)}
	for _, set := range []NodeLabels{defaultLabels, l} {
		for key, values := range set {
			labels[key] = values[i%len(values)]
		}
	}
	labels[simulatedLabel] = simulatedValue // whatever else is asked for
	return labels
}

func nodeName(i int) string { return fmt.Sprintf("node-%d", i) }
