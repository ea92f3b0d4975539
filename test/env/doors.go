package env

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/gridlatch/gridlatch/gating/door"
)

// DefineDoors applies the CustomResourceDefinitions of all kinds that are held whole, as their engines ship them, and
// returns when the kinds are served. No engine runs.
func (c *Cluster) DefineDoors(ctx context.Context) error {
	shipped, err := shippedDefinitions()
	if err != nil {
		return err
	}
	var text strings.Builder
	var definitions []string
	for _, d := range door.All() {
		name := d.Resource + "." + d.Kind.Group
		definition := shipped[name]
		if definition == nil {
			return fmt.Errorf("there is no CustomResourceDefinition %s below bin (make bin/engines/mpi/mpi bin/kueue/kueue)", name)
		}
		unstructured.RemoveNestedField(definition.Object, "spec", "conversion") // nobody would answer
		raw, err := yaml.Marshal(definition.Object)
		if err != nil {
			return fmt.Errorf("write %s: %w", name, err)
		}
		text.WriteString("---\n" + string(raw))
		definitions = append(definitions, "crd/"+name)
	}
	// On the server's side: some are too large for the annotation of the client's.
	if _, err := c.KubectlInput(ctx, text.String(), "apply", "--server-side", "-f", "-"); err != nil {
		return err
	}
	return c.awaitDefinitions(ctx, definitions...)
}

// DoorExamples returns the objects that docs/engines.md shows, of which there is one of each kind that is held whole.
func DoorExamples() ([]*unstructured.Unstructured, error) {
	root, err := sourceTree()
	if err != nil {
		return nil, err
	}
	page, err := os.ReadFile(filepath.Join(root, "docs", "engines.md"))
	if err != nil {
		return nil, fmt.Errorf("read the examples: %w", err)
	}
	var all []*unstructured.Unstructured
	for _, block := range strings.Split(string(page), "```yaml\n")[1:] {
		block, _, _ = strings.Cut(block, "```")
		for document := range strings.SplitSeq(block, "---\n") {
			o := &unstructured.Unstructured{}
			if err := yaml.UnmarshalStrict([]byte(document), &o.Object); err != nil {
				return nil, fmt.Errorf("read an example of docs/engines.md: %w", err)
			}
			if o.GetKind() != "" { // a part of a manifest has none
				all = append(all, o)
			}
		}
	}
	return all, nil
}

// shippedDefinitions returns the CustomResourceDefinitions that were put beside the engines of the tests, by name.
func shippedDefinitions() (map[string]*unstructured.Unstructured, error) {
	root, err := sourceTree()
	if err != nil {
		return nil, err
	}
	found := map[string]*unstructured.Unstructured{}
	for _, pattern := range []string{"bin/engines/*/*/*.yaml", "bin/kueue/*.yaml"} {
		paths, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			return nil, fmt.Errorf("find %s: %w", pattern, err)
		}
		for _, path := range paths {
			if info, err := os.Stat(path); err != nil || info.IsDir() {
				continue
			}
			name, err := filepath.Rel(root, path)
			if err != nil {
				return nil, fmt.Errorf("name %s: %w", path, err)
			}
			objects, err := readManifests(name)
			if err != nil {
				return nil, err
			}
			for _, o := range objects {
				if o.GetKind() == "CustomResourceDefinition" {
					found[o.GetName()] = o
				}
			}
		}
	}
	return found, nil
}
