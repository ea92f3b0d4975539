package extender

import (
	"errors"
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gridlatch/gridlatch/serving"
)

const (
	// maxNodes bounds the nodes of a request: more than any cluster has.
	maxNodes = 100_000
	// maxField bounds a field of the pod. Kubernetes allows annotations of 256 KiB,
	// of which each byte may be an escape of six.
	maxFieldBytes = 2 << 20
)

// args are what is read of the ExtenderArgs of a request. The values are parts
// of its body.
type args struct {
	pod metav1.PartialObjectMetadata
	// names are the names of the nodes, as JSON strings.
	names [][]byte
	// nodes are the nodes themselves, each as a JSON object; none if the
	// scheduler sends names only.
	nodes [][]byte
}

// parse reads the body of a request: of the pod only the metadata, of nodes only
// the names, which it puts where others were. The keys are matched in any case, as
// the scheduler itself would.
func parse(body []byte, names [][]byte) (*args, error) {
	r := serving.NewReader(body)
	a := &args{names: names[:0]}
	var full bool
	pods := 0
	err := r.Members("the body", func(key string) (err error) {
		switch {
		case strings.EqualFold(key, "Pod") && r.PeekKind() == '{':
			pods++
			return readPod(r, &a.pod)
		case strings.EqualFold(key, "NodeNames"):
			return r.List("NodeNames", func() error { return a.readName(r) })
		case strings.EqualFold(key, "Nodes"):
			full = r.PeekKind() == '{'
			return a.readNodes(r)
		default:
			return r.Skip()
		}
	})
	if err != nil {
		return nil, err
	}
	if err := r.End(); err != nil {
		return nil, err
	}
	switch {
	case pods != 1:
		return nil, errors.New("want the pod to place as Pod")
	case full && len(a.names) != len(a.nodes):
		return nil, errors.New("want either Nodes or NodeNames")
	}
	return a, nil
}

// pod reads of a pod's metadata what matters here. The rest could be made to
// take many times its length.
func readPod(r serving.Reader, into *metav1.PartialObjectMetadata) error {
	decode := func(name string, field any) func() error {
		return func() error { return r.Decode("Pod.metadata."+name, maxFieldBytes, field) }
	}
	return r.Fields("Pod", map[string]func() error{
		"metadata": func() error {
			return r.Fields("Pod.metadata", map[string]func() error{
				"name":              decode("name", &into.Name),
				"namespace":         decode("namespace", &into.Namespace),
				"annotations":       decode("annotations", &into.Annotations),
				"creationTimestamp": decode("creationTimestamp", &into.CreationTimestamp),
			})
		},
	})
}

// list reads a list of nodes, if there is one.
func (a *args) readNodes(r serving.Reader) error {
	return r.Fields("Nodes", map[string]func() error{
		"items": func() error {
			return r.List("Nodes.items", func() error { return a.readNode(r) })
		},
	})
}

// node reads one node.
func (a *args) readNode(r serving.Reader) error {
	named := len(a.names)
	value, err := r.Part(func() error {
		return r.Members("Nodes.items", func(key string) error {
			if key != "metadata" {
				return r.Skip()
			}
			return r.Members("Nodes.items.metadata", func(key string) error {
				if key != "name" {
					return r.Skip()
				}
				return a.readName(r)
			})
		})
	})
	if err != nil {
		return err
	}
	if len(a.names) != named+1 {
		return errors.New("want one metadata.name in each of Nodes.items")
	}
	a.nodes = append(a.nodes, value)
	return nil
}

// name reads the name of a node.
func (a *args) readName(r serving.Reader) error {
	if kind := r.PeekKind(); kind != '"' && kind != 0 {
		return fmt.Errorf("want the name of a node, not %s", kind)
	}
	value, err := r.Raw()
	if err != nil {
		return err
	}
	if len(a.names) == maxNodes {
		return fmt.Errorf("want at most %d nodes", maxNodes)
	}
	a.names = append(a.names, value)
	return nil
}
