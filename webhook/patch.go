package webhook

import (
	"encoding/json"
	"maps"
	"slices"

	"github.com/go-json-experiment/json/jsontext"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// patch is a JSON patch (RFC 6902) of what we set, and of nothing else.
type patch []operation

type operation struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value,omitempty"`
}

// set adds that the member at path has this value, whether it was there or
// not; its parent has to be.
func (p patch) set(path string, value any) patch {
	return append(p, operation{Op: "add", Path: path, Value: value})
}

// add adds members to a map of which only is known whether it is there.
func (p patch) addMembers(path string, there bool, members map[string]resource.Quantity) patch {
	if !there {
		return p.set(path, members)
	}
	for _, key := range slices.Sorted(maps.Keys(members)) {
		p = p.set(memberPath(path, key), members[key])
	}
	return p
}

// remove adds that there is no member at path, where one is.
func (p patch) remove(path string) patch { return append(p, operation{Op: "remove", Path: path}) }

func (p patch) json() []byte {
	raw, _ := json.Marshal(p) // of Kubernetes' own types: no error is possible
	return raw
}

// own gives an object the labels and annotations that it came with, to be
// written to.
func (m *meta) fill(object *metav1.ObjectMeta) {
	object.OwnerReferences = m.owners
	for to, from := range map[*map[string]string]stringMap{&object.Labels: m.labels, &object.Annotations: m.annotations} {
		if *to = maps.Clone(from.known); *to == nil {
			*to = map[string]string{}
		}
	}
}

// patch makes of the labels and annotations that an object came with those that
// it is to have. Others, which are not known, stay.
func (m *meta) patch(to metav1.ObjectMeta) (p patch) {
	if !m.exists {
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

// member is the path of a member, whose key may have a slash.
func memberPath(path, key string) string { return string(jsontext.Pointer(path).AppendToken(key)) }
