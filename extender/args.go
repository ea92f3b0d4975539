package extender

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	// maxNodes bounds the nodes of a request: more than any cluster has.
	maxNodes = 100_000
	// maxField bounds a field of the pod. Kubernetes allows annotations of 256 KiB,
	// of which each byte may be an escape of six.
	maxField = 2 << 20
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

// A reader reads the tokens of a body. It is many times as fast as decoding all
// into Go's own values, of which there would be one for each name.
type reader struct {
	*jsontext.Decoder
	body []byte
}

// parse reads the body of a request: of the pod only the metadata, of nodes only
// the names, which it puts where others were. The keys are matched in any case, as
// the scheduler itself would.
func parse(body []byte, names [][]byte) (*args, error) {
	r := reader{jsontext.NewDecoder(bytes.NewBuffer(body)), body}
	a := &args{names: names[:0]}
	var full, pod bool
	err := r.members("the body", func(key string) (err error) {
		switch {
		case strings.EqualFold(key, "Pod"):
			pod = true
			return r.pod(&a.pod)
		case strings.EqualFold(key, "NodeNames"):
			return r.list("NodeNames", func() error { return a.name(r) })
		case strings.EqualFold(key, "Nodes"):
			full = r.PeekKind() == '{'
			return r.nodes(a)
		default:
			return r.SkipValue()
		}
	})
	if err != nil {
		return nil, err
	}
	if _, err := r.ReadToken(); !errors.Is(err, io.EOF) {
		return nil, errors.New("want one JSON object, and nothing behind it")
	}
	switch {
	case !pod:
		return nil, errors.New("want the pod to place as Pod")
	case full && len(a.names) != len(a.nodes):
		return nil, errors.New("want either Nodes or NodeNames")
	}
	return a, nil
}

// pod reads of a pod's metadata what matters here. The rest could be made to
// take many times its length.
func (r reader) pod(into *metav1.PartialObjectMetadata) error {
	matters := map[string]any{
		"name": &into.Name, "namespace": &into.Namespace,
		"annotations": &into.Annotations, "creationTimestamp": &into.CreationTimestamp,
	}
	return r.members("Pod", func(key string) error {
		if key != "metadata" {
			return r.SkipValue()
		}
		return r.members("Pod.metadata", func(key string) error {
			field, ok := matters[key]
			if !ok {
				return r.SkipValue()
			}
			value, err := r.value()
			switch {
			case err != nil:
				return err
			case len(value) > maxField:
				return fmt.Errorf("%s: want at most %d MiB", "Pod.metadata."+key, maxField>>20)
			}
			if err := json.Unmarshal(value, field); err != nil {
				return fmt.Errorf("%s: %w", "Pod.metadata."+key, err)
			}
			return nil
		})
	})
}

// nodes reads a list of nodes, if there is one.
func (r reader) nodes(a *args) error {
	if r.PeekKind() == 'n' {
		return r.SkipValue()
	}
	return r.members("Nodes", func(key string) error {
		if key != "items" {
			return r.SkipValue()
		}
		return r.list("Nodes.items", func() error { return a.node(r) })
	})
}

// node reads one node.
func (a *args) node(r reader) error {
	named := len(a.names)
	r.PeekKind() // to the start of the value
	start := r.InputOffset()
	err := r.members("Nodes.items", func(key string) error {
		if key != "metadata" {
			return r.SkipValue()
		}
		return r.members("Nodes.items.metadata", func(key string) error {
			if key != "name" {
				return r.SkipValue()
			}
			return a.name(r)
		})
	})
	if err != nil {
		return err
	}
	if len(a.names) != named+1 {
		return errors.New("want a metadata.name in each of Nodes.items")
	}
	a.nodes = append(a.nodes, bytes.TrimLeft(r.body[start:r.InputOffset()], ", \t\r\n"))
	return nil
}

// name reads the name of a node.
func (a *args) name(r reader) error {
	if kind := r.PeekKind(); kind != '"' && kind != 0 {
		return fmt.Errorf("want the name of a node, not %s", kind)
	}
	value, err := r.value()
	if err != nil {
		return err
	}
	if len(a.names) == maxNodes {
		return fmt.Errorf("want at most %d nodes", maxNodes)
	}
	a.names = append(a.names, value)
	return nil
}

// value reads one value, which is part of the body.
func (r reader) value() ([]byte, error) {
	value, err := r.ReadValue()
	if err != nil {
		return nil, err
	}
	end := r.InputOffset()
	return r.body[end-int64(len(value)) : end], nil
}

// members reads an object; member is called behind each key, and reads its value.
func (r reader) members(what string, member func(key string) error) error {
	if err := r.open(what, '{'); err != nil {
		return err
	}
	for {
		token, err := r.ReadToken()
		if err != nil {
			return err
		}
		if token.Kind() == '}' {
			return nil
		}
		if err := member(token.String()); err != nil {
			return err
		}
	}
}

// list reads an array, or null; item reads each of its values.
func (r reader) list(what string, item func() error) error {
	if r.PeekKind() == 'n' {
		return r.SkipValue()
	}
	if err := r.open(what, '['); err != nil {
		return err
	}
	for r.PeekKind() != ']' {
		if err := item(); err != nil {
			return err
		}
	}
	_, err := r.ReadToken()
	return err
}

func (r reader) open(what string, want jsontext.Kind) error {
	token, err := r.ReadToken()
	if err != nil {
		return err
	}
	if token.Kind() != want {
		return fmt.Errorf("%s: want %s, not %s", what, want, token.Kind())
	}
	return nil
}
