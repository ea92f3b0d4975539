package chart

import (
	"fmt"
	"strings"
	"time"

	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/chart/v2/util"
	"sigs.k8s.io/yaml"
)

// An Image is the image of a release, such as registry.example.com/gridlatch:v1.2.3 or with a digest.
type Image struct{ Repository, Tag, Digest string }

// ParseImage reads the name of an image. The tag may be missing if there is a digest, and otherwise is latest.
func ParseImage(name string) Image {
	name, digest, _ := strings.Cut(name, "@")
	image := Image{Repository: name, Digest: digest}
	if colon := strings.LastIndex(name, ":"); colon > strings.LastIndex(name, "/") {
		image.Repository, image.Tag = name[:colon], name[colon+1:]
	}
	if image.Tag == "" && digest == "" {
		image.Tag = "latest"
	}
	return image
}

// Install returns install.yaml of a release: the base of the manifests in dir with an image.
func Install(dir, version string, image Image) ([]byte, error) {
	text, err := yaml.Marshal(map[string]any{
		"resources": []string{"MANIFESTS/base"},
		"images":    []any{map[string]string{"name": "gridlatch", "newName": image.Repository, "newTag": image.Tag, "digest": image.Digest}},
		"labels":    []any{map[string]any{"pairs": map[string]string{"app.kubernetes.io/version": version}}},
	})
	if err != nil {
		return nil, fmt.Errorf("write a kustomization: %w", err)
	}
	return render(dir, string(text))
}

// Package writes the chart in dir as an archive into the directory out, and returns the path of the archive. All files in
// the archive have the time modified. The same chart and arguments give the same archive.
func Package(dir, out, version string, image Image, modified time.Time) (string, error) {
	chart, err := loader.Load(dir)
	if err != nil {
		return "", fmt.Errorf("read the chart: %w", err)
	}
	chart.Metadata.Version, chart.Metadata.AppVersion = version, version
	for _, file := range chart.Raw {
		if file.Name == util.ValuesfileName {
			file.Data = []byte(strings.NewReplacer(
				"repository: gridlatch #", fmt.Sprintf("repository: %s #", image.Repository),
				`tag: ""`, fmt.Sprintf("tag: %q", image.Tag),
				`digest: ""`, fmt.Sprintf("digest: %q", image.Digest),
				"/blob/main/", "/blob/"+version+"/",
			).Replace(string(file.Data)))
		}
	}
	chart.StampModTimes(modified)
	path, err := util.Save(chart, out)
	if err != nil {
		return "", fmt.Errorf("write the chart: %w", err)
	}
	return path, nil
}
