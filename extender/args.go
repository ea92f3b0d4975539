package extender

import (
	"errors"
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gridlatch/gridlatch/serving"
)

const (
	// maxNodes bounds the nodes of a request. No cluster has as many.
	maxNodes = 100_000
	// maxFieldBytes bounds a field of the pod. Kubernetes allows annotations of 256 KiB, and each
	// byte may be an escape of six bytes.
	maxFieldBytes = 2 << 20
)

// args is what is read of the ExtenderArgs of a request. The values are parts of its body.
type args struct {
	pod metav1.PartialObjectMetadata
	// names has the names of the nodes, as JSON strings.
	names [][]byte
	// nodes has the nodes themselves, as JSON objects. There are none if the scheduler sends only
	// names.
	nodes [][]byte
}

// parse reads the body of a request. Of the pod, parse reads only the metadata, and of nodes only
// the names, which replace the names of an earlier request. Keys match in any case, as in the
// scheduler itself.
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

// readPod reads the needed part of a pod's metadata. The rest could take many times its length when
// it is decoded.
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

// readNodes reads the list of nodes, if there is one.
func (a *args) readNodes(r serving.Reader) error {
	return r.Fields("Nodes", map[string]func() error{
		"items": func() error {
			return r.List("Nodes.items", func() error { return a.readNode(r) })
		},
	})
}

// readNode reads one node.
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

// readName reads the name of a node.
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
