package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"sigs.k8s.io/yaml"
)

// These are the types of what Helm keeps in a registry (https://helm.sh/docs/topics/registries).
const (
	chartConfigType types.MediaType = "application/vnd.cncf.helm.config.v1+json"
	chartLayerType  types.MediaType = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
)

// chartArtifact is a chart as a registry keeps it: an image whose configuration is Chart.yaml, and whose
// only layer is the packaged chart.
type chartArtifact struct {
	config, manifest []byte
	layer            v1.Layer
}

// chartImage returns the chart of the release as an image.
func (r *release) chartImage() (v1.Image, error) {
	path := filepath.Join(r.dist, "gridlatch-"+r.version+".tgz")
	packaged, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	about, err := fileOf(packaged, "gridlatch/Chart.yaml")
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	a := chartArtifact{layer: static.NewLayer(packaged, chartLayerType)}
	if a.config, err = yaml.YAMLToJSON(about); err != nil {
		return nil, fmt.Errorf("%s: Chart.yaml: %w", path, err)
	}
	if a.manifest, err = a.describe(r); err != nil {
		return nil, err
	}
	return partial.CompressedToImage(a)
}

// describe returns the manifest.
func (a chartArtifact) describe(r *release) ([]byte, error) {
	config, err := partial.Descriptor(static.NewLayer(a.config, chartConfigType))
	if err != nil {
		return nil, err
	}
	layer, err := partial.Descriptor(a.layer)
	if err != nil {
		return nil, err
	}
	return json.Marshal(v1.Manifest{
		SchemaVersion: 2, MediaType: types.OCIManifestSchema1, Config: *config, Layers: []v1.Descriptor{*layer}, Annotations: r.labels(),
	})
}

// RawConfigFile returns Chart.yaml as JSON.
func (a chartArtifact) RawConfigFile() ([]byte, error) { return a.config, nil }

// MediaType returns the type of the manifest.
func (a chartArtifact) MediaType() (types.MediaType, error) { return types.OCIManifestSchema1, nil }

// RawManifest returns the manifest.
func (a chartArtifact) RawManifest() ([]byte, error) { return a.manifest, nil }

// LayerByDigest returns the only layer.
func (a chartArtifact) LayerByDigest(v1.Hash) (partial.CompressedLayer, error) { return a.layer, nil }

// fileOf returns a file of a compressed archive.
func fileOf(archive []byte, name string) ([]byte, error) {
	z, err := gzip.NewReader(bytes.NewReader(archive))
	if err != nil {
		return nil, err
	}
	for files := tar.NewReader(z); ; {
		header, err := files.Next()
		if err != nil {
			return nil, fmt.Errorf("look for %s: %w", name, err)
		}
		if header.Name == name {
			return io.ReadAll(files)
		}
	}
}
