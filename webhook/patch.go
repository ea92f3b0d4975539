package webhook

import (
	"encoding/json"
	"maps"
	"slices"

	"github.com/go-json-experiment/json/jsontext"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// patch is a JSON patch (RFC 6902) of what Gridlatch changes, and of nothing else.
type patch []operation

type operation struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value,omitempty"`
}

// set sets the member at path to a value. The parent must exist.
func (p patch) set(path string, value any) patch {
	return append(p, operation{Op: "add", Path: path, Value: value})
}

// addMembers adds members to a map. The patch creates the map unless the map exists.
func (p patch) addMembers(path string, exists bool, members map[string]resource.Quantity) patch {
	if !exists {
		return p.set(path, members)
	}
	for _, key := range slices.Sorted(maps.Keys(members)) {
		p = p.set(memberPath(path, key), members[key])
	}
	return p
}

// remove removes the member at path, which must exist.
func (p patch) remove(path string) patch { return append(p, operation{Op: "remove", Path: path}) }

func (p patch) json() []byte {
	raw, _ := json.Marshal(p) // of Kubernetes' own types: no error is possible
	return raw
}

// fill gives an object a copy of the labels and annotations that came, for changes.
func (m *meta) fill(object *metav1.ObjectMeta) {
	object.OwnerReferences = m.owners
	for to, from := range map[*map[string]string]stringMap{&object.Labels: m.labels, &object.Annotations: m.annotations} {
		if *to = maps.Clone(from.known); *to == nil {
			*to = map[string]string{}
		}
	}
}

// patch returns the patch from the labels and annotations that came to those in to. Labels and
// annotations that were not read stay.
func (m *meta) patch(to metav1.ObjectMeta) (p patch) {
	if !m.exists && len(to.Labels)+len(to.Annotations) > 0 {
		p = p.set(m.path, struct{}{})
	}
	p = append(p, m.labels.patch(m.path+"/labels", to.Labels)...)
	return append(p, m.annotations.patch(m.path+"/annotations", to.Annotations)...)
}

func (t stringMap) patch(path string, to map[string]string) (p patch) {
	if !t.exists {
		if len(to) == 0 {
			return nil
		}
		return p.set(path, to)
	}
	for _, key := range slices.Sorted(maps.Keys(to)) {
		if before, ok := t.known[key]; !ok || before != to[key] {
			p = p.set(memberPath(path, key), to[key])
		}
	}
	for _, key := range slices.Sorted(maps.Keys(t.known)) {
		if _, ok := to[key]; !ok {
			p = p.remove(memberPath(path, key))
		}
	}
	return p
}

// memberPath returns the path of a member, whose key may have a slash.
func memberPath(path, key string) string { return string(jsontext.Pointer(path).AppendToken(key)) }
