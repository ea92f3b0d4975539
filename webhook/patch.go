package webhook

import (
	"encoding/json"
	"maps"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// patch is a JSON patch (RFC 6902) of what we set, and of nothing else.
type patch []operation

type operation struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value"`
}

// set adds that the member at path has this value, whether it was there or
// not; its parent has to be.
func (p patch) set(path string, value any) patch {
	return append(p, operation{Op: "add", Path: path, Value: value})
}

func (p patch) json() []byte {
	raw, _ := json.Marshal(p) // of Kubernetes' own types: no error is possible
	return raw
}

// metaPatch sets an object's labels and annotations.
func metaPatch(meta metav1.ObjectMeta) patch {
	return patch{}.set("/metadata/labels", meta.Labels).set("/metadata/annotations", meta.Annotations)
}

// own makes labels and annotations that can be written to.
func own(meta *metav1.ObjectMeta) {
	for _, m := range []*map[string]string{&meta.Labels, &meta.Annotations} {
		if *m = maps.Clone(*m); *m == nil {
			*m = map[string]string{}
		}
	}
}
