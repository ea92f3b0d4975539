package machine

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

const (
	// pauseImage holds the namespaces of a pod.
	pauseImage = "docker.io/library/pause:test"
	// workImage is a workload for tests: the command work.
	workImage = "docker.io/library/work:test"
)

// writeImages writes an archive of the images that every node has. Each has one file, a program.
func writeImages(path, programs string) error {
	images := map[name.Tag]v1.Image{}
	for reference, program := range map[string]string{pauseImage: "pause", workImage: "work"} {
		tag, err := name.NewTag(reference)
		if err != nil {
			return fmt.Errorf("name an image: %w", err)
		}
		if images[tag], err = imageOf(filepath.Join(programs, program)); err != nil {
			return fmt.Errorf("make image %s: %w", reference, err)
		}
	}
	if err := tarball.MultiWriteToFile(path, images); err != nil {
		return fmt.Errorf("write images: %w", err)
	}
	return nil
}

// imageOf returns an image that runs a static program as a user without rights.
func imageOf(program string) (v1.Image, error) {
	content, err := os.ReadFile(program)
	if err != nil {
		return nil, err
	}
	file := "/" + filepath.Base(program)
	layer, err := layerOf(file, content)
	if err != nil {
		return nil, err
	}
	image, err := mutate.AppendLayers(empty.Image, layer)
	if err != nil {
		return nil, err
	}
	config, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = runtime.GOOS, runtime.GOARCH
	config.Config.Entrypoint, config.Config.User = []string{file}, "65532:65532"
	return mutate.ConfigFile(image, config)
}

// layerOf returns a layer with one file that all can run.
func layerOf(path string, content []byte) (v1.Layer, error) {
	var archive bytes.Buffer
	writer := tar.NewWriter(&archive)
	if err := writer.WriteHeader(&tar.Header{Name: path, Mode: 0o755, Size: int64(len(content))}); err != nil {
		return nil, err
	}
	if _, err := writer.Write(content); err != nil {
		return nil, err
	}
	if err := writer.Close(); err != nil {
		return nil, err
	}
	return tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(archive.Bytes())), nil })
}
