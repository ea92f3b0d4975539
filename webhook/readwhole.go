package webhook

import (
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gridlatch/gridlatch/gating/door"
)

// maxPartBytes bounds what is read at each path of an object that is held whole.
const maxPartBytes = 16 << 10

// decodedWhole is the part of an object of a kind with a door that is read, and its metadata as they
// came.
type decodedWhole struct {
	metav1.PartialObjectMetadata
	door     *door.Door
	original meta
	// content has what is at the paths that the door names, and nothing else.
	content map[string]any
	// mark is what Gridlatch wrote on the object before.
	mark     mark
	tooLarge error
}

// readWhole reads an object of a kind with a door.
func readWhole(raw []byte, d *door.Door) (*decodedWhole, error) {
	o := newObject(raw)
	whole := &decodedWhole{door: d, content: map[string]any{}}
	whole.SetGroupVersionKind(d.Kind)
	known := o.partial("", d.Paths(), whole.content)
	known["metadata"] = o.metadata("metadata", "/metadata", &whole.original)
	if err := o.Fields(d.Kind.Kind, known); err != nil {
		return nil, fmt.Errorf("decode a %s: %w", d.Kind.Kind, err)
	}
	whole.original.fill(&whole.ObjectMeta)
	whole.tooLarge = o.tooLarge
	return whole, d.CheckTypes(whole.content)
}

// partial returns functions that read what is at some paths of an object, each path by the members'
// names, and nothing else. prefix is the path of the object, with a dot after it. into becomes what
// decoding the object would give, without all other members.
func (o *object) partial(prefix string, paths [][]string, into map[string]any) map[string]func() error {
	below := map[string][][]string{}
	for _, path := range paths {
		below[path[0]] = append(below[path[0]], path[1:])
	}
	known := make(map[string]func() error, len(below))
	for name, rest := range below {
		known[name] = func() error { return o.member(prefix+name, name, rest, into) }
	}
	return known
}

// member reads a member of an object: all of it if one of the paths ends there.
func (o *object) member(at, name string, paths [][]string, into map[string]any) error {
	isWanted := slices.ContainsFunc(paths, func(path []string) bool { return len(path) == 0 })
	if isWanted || o.PeekKind() == 'n' {
		var value any
		err := o.decode(at, maxPartBytes, &value)()
		into[name] = value
		return err
	}
	inner := map[string]any{}
	into[name] = inner
	return o.Fields(at, o.partial(at+".", paths, inner))
}

// setAt returns the patch that sets what is at a path of the object. The patch makes the parents that
// are not there. A value of nil removes what is there.
func (whole *decodedWhole) setAt(path []string, value any) (p patch) {
	pointer, parent := "", whole.content
	for _, name := range path[:len(path)-1] {
		pointer = memberPath(pointer, name)
		inner, exists := parent[name].(map[string]any)
		if !exists {
			p = p.set(pointer, struct{}{})
		}
		parent = inner
	}
	last := path[len(path)-1]
	if value != nil {
		return p.set(memberPath(pointer, last), value)
	}
	if _, exists := parent[last]; !exists {
		return nil
	}
	return p.remove(memberPath(pointer, last))
}
