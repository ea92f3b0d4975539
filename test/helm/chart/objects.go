package chart

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

// An Object is a Kubernetes object as JSON has it.
type Object map[string]any

// ID returns what tells the object from all others, such as "Role kube-system/gridlatch-forecast".
func (o Object) ID() string {
	kind, _ := o["kind"].(string)
	metadata, _ := o["metadata"].(map[string]any)
	name, _ := metadata["name"].(string)
	if namespace, ok := metadata["namespace"].(string); ok {
		name = namespace + "/" + name
	}
	return kind + " " + name
}

// Label returns the value of a label, or nothing.
func (o Object) Label(key string) string {
	metadata, _ := o["metadata"].(map[string]any)
	labels, _ := metadata["labels"].(map[string]any)
	value, _ := labels[key].(string)
	return value
}

// Components returns the names of all components of the manifests in dir, sorted.
func Components(dir string) ([]string, error) {
	found, err := filepath.Glob(filepath.Join(dir, "components", "*", "kustomization.yaml"))
	if err != nil {
		return nil, err
	}
	names := make([]string, 0, len(found))
	for _, path := range found {
		names = append(names, filepath.Base(filepath.Dir(path)))
	}
	return names, nil
}

// Kustomize renders the base of the manifests in dir with components, as a kustomization of a user does. An empty
// namespace leaves the objects where the manifests put them.
func Kustomize(dir, namespace string, components ...string) ([]Object, error) {
	rendered, err := render(dir, kustomization(namespace, components))
	if err != nil {
		return nil, err
	}
	return Parse(string(rendered))
}

// kustomization returns the lines of a kustomization of a user.
func kustomization(namespace string, components []string) string {
	text := "resources: [MANIFESTS/base]\ntransformers: [MANIFESTS/namespace]\ncomponents:\n"
	for _, name := range components {
		text += "- MANIFESTS/components/" + name + "\n"
	}
	if namespace != "" {
		text += "namespace: " + namespace + "\n"
	}
	return text
}

// render renders a kustomization, in which MANIFESTS is dir, as kubectl does.
func render(dir, text string) ([]byte, error) {
	root, err := os.MkdirTemp("", "gridlatch-kustomize-")
	if err != nil {
		return nil, fmt.Errorf("make a directory: %w", err)
	}
	defer os.RemoveAll(root)
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, fmt.Errorf("find the manifests: %w", err)
	}
	if dir, err = filepath.Rel(root, dir); err != nil {
		return nil, fmt.Errorf("find the manifests: %w", err)
	}
	text = strings.ReplaceAll(text, "MANIFESTS", dir)
	if err := os.WriteFile(filepath.Join(root, "kustomization.yaml"), []byte(text), 0o600); err != nil {
		return nil, fmt.Errorf("write a kustomization: %w", err)
	}
	options := krusty.MakeDefaultOptions()
	options.Reorder = krusty.ReorderOptionLegacy // namespaces and definitions first
	all, err := krusty.MakeKustomizer(options).Run(filesys.MakeFsOnDisk(), root)
	if err != nil {
		return nil, fmt.Errorf("kustomize: %w", err)
	}
	return all.AsYaml()
}

// Parse reads the objects of a text with documents of YAML.
func Parse(text string) ([]Object, error) {
	var all []Object
	for document := range strings.SplitSeq("\n"+text, "\n---") {
		var object Object
		if err := yaml.Unmarshal([]byte(document), &object); err != nil {
			return nil, fmt.Errorf("%w in:\n%s", err, document)
		}
		if len(object) > 0 {
			all = append(all, object)
		}
	}
	return all, nil
}
