package main

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// revisionLabel names the commit of an image.
const revisionLabel = "org.opencontainers.image.revision"

// makeImage writes the image of all platforms as one archive, and the reference of the image with its
// digest.
func makeImage(_ context.Context, r *release) error {
	began := time.Now()
	index, err := r.index()
	if err != nil {
		return fmt.Errorf("make the image: %w", err)
	}
	reference, err := r.reference(index)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(r.dist, 0o755); err != nil {
		return err
	}
	if err := archiveIndex(index, r.inDist("gridlatch", "image.tar"), r.commit.time); err != nil {
		return fmt.Errorf("write the image: %w", err)
	}
	if err := os.WriteFile(filepath.Join(r.dist, "image.txt"), []byte(reference.String()+"\n"), publicMode); err != nil {
		return err
	}
	reportFile(began, r.inDist("gridlatch", "image.tar"))
	return nil
}

// reference returns the name of the image with its digest.
func (r *release) reference(index v1.ImageIndex) (name.Digest, error) {
	image, _, err := r.names()
	if err != nil {
		return name.Digest{}, err
	}
	digest, err := index.Digest()
	if err != nil {
		return name.Digest{}, fmt.Errorf("compute the digest of the image: %w", err)
	}
	return image.Digest(digest.String()), nil
}

// index returns the image of all platforms.
func (r *release) index() (v1.ImageIndex, error) {
	recipe, err := readRecipe(filepath.Join(r.top, "Dockerfile"))
	if err != nil {
		return nil, err
	}
	platforms, err := r.platforms("gridlatch")
	if err != nil {
		return nil, err
	}
	labels := r.labels()
	maps.Copy(labels, recipe.labels)
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, platform := range platforms {
		image, err := r.platformImage(recipe, platform, labels)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", platform, err)
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{
			Add: image, Descriptor: v1.Descriptor{MediaType: types.OCIManifestSchema1, Platform: toPlatform(platform)},
		})
	}
	return mutate.Annotations(index, labels).(v1.ImageIndex), nil // Annotations returns what it gets
}

// labels returns what tells of which commit an image is.
func (r *release) labels() map[string]string {
	return map[string]string{
		"org.opencontainers.image.version": r.version,
		revisionLabel:                      r.commit.hash,
		"org.opencontainers.image.created": r.commit.time.Format(time.RFC3339),
	}
}

// toPlatform reads the name of a directory, such as linux_arm64.
func toPlatform(name string) *v1.Platform {
	system, architecture, _ := strings.Cut(name, "_")
	return &v1.Platform{OS: system, Architecture: architecture}
}

// platformImage returns the image of one platform: what the recipe says, and one layer with the
// program.
func (r *release) platformImage(recipe recipe, platform string, labels map[string]string) (v1.Image, error) {
	layer, err := r.layer(r.binary(platform, recipe.from), recipe.to)
	if err != nil {
		return nil, err
	}
	p := toPlatform(platform)
	image := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	image, err = mutate.ConfigFile(image, &v1.ConfigFile{
		OS: p.OS, Architecture: p.Architecture, Created: v1.Time{Time: r.commit.time}, RootFS: v1.RootFS{Type: "layers"},
		Config: v1.Config{User: recipe.user, Entrypoint: recipe.entrypoint, Labels: labels},
	})
	if err != nil {
		return nil, err
	}
	return mutate.Append(image, mutate.Addendum{Layer: layer, History: v1.History{
		Created: v1.Time{Time: r.commit.time}, CreatedBy: "make release VERSION=" + r.version,
	}})
}

// layer returns a layer whose only file is the program.
func (r *release) layer(program, to string) (v1.Layer, error) {
	content, err := os.ReadFile(program)
	if err != nil {
		return nil, err
	}
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	header := &tar.Header{Name: strings.TrimPrefix(path.Clean(to), "/"), Mode: 0o755, Size: int64(len(content)), ModTime: r.commit.time}
	if err := w.WriteHeader(header); err != nil {
		return nil, err
	}
	if _, err := w.Write(content); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(layer.Bytes())), nil },
		tarball.WithMediaType(types.OCILayer))
}

// archiveIndex writes an index as an archive that containerd, podman and skopeo read.
func archiveIndex(index v1.ImageIndex, archive string, modified time.Time) error {
	dir, err := os.MkdirTemp("", "gridlatch-image")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	path, err := layout.Write(dir, empty.Index)
	if err != nil {
		return err
	}
	if err := path.AppendIndex(index); err != nil {
		return err
	}
	entries, err := readTree(dir)
	if err != nil {
		return err
	}
	return writeTar(archive, entries, modified)
}
