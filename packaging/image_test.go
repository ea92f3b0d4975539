package main

import (
	"archive/tar"
	"debug/elf"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// checkImage pulls the image as a node does.
func (m made) checkImage(t *testing.T) {
	index, digest := m.pull(t)
	t.Run("has the digest that the release tells", func(t *testing.T) {
		if want := m.registry + "/gridlatch@" + digest; m.image != want {
			t.Errorf("image.txt has %s, the registry has %s", m.image, want)
		}
	})
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	var platforms []string
	for _, m := range manifest.Manifests {
		platforms = append(platforms, m.Platform.String())
		image, err := index.Image(m.Digest)
		if err != nil {
			t.Fatal(err)
		}
		t.Run("for "+m.Platform.String(), func(t *testing.T) { checkPlatformImage(t, image, m.Platform) })
	}
	if diff := cmp.Diff([]string{"linux/amd64", "linux/arm64"}, platforms); diff != "" {
		t.Errorf("platforms (-want +got):\n%s", diff)
	}
}

// pull returns what the tag of the version means in the registry, and its digest.
func (m made) pull(t *testing.T) (v1.ImageIndex, string) {
	t.Helper()
	tag, err := name.NewTag(m.registry + "/gridlatch:" + version)
	if err != nil {
		t.Fatal(err)
	}
	index, err := remote.Index(tag)
	if err != nil {
		t.Fatal(err)
	}
	digest, err := index.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return index, digest.String()
}

func checkPlatformImage(t *testing.T, image v1.Image, platform *v1.Platform) {
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if got := config.Platform().String(); got != platform.String() {
		t.Errorf("the configuration says %s", got)
	}
	want := v1.Config{User: "65532:65532", Entrypoint: []string{"/gridlatch"}}
	if diff := cmp.Diff(want, config.Config, cmp.FilterPath(func(p cmp.Path) bool { return p.String() == "Labels" }, cmp.Ignore())); diff != "" {
		t.Errorf("configuration (-want +got):\n%s", diff)
	}
	for _, label := range []string{"title", "description", "source", "licenses", "version", "revision", "created"} {
		if label = "org.opencontainers.image." + label; config.Config.Labels[label] == "" {
			t.Errorf("label %s is missing", label)
		}
	}
	program := extract(t, image)
	machine := map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}[platform.Architecture]
	file, err := elf.Open(program)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if file.Machine != machine {
		t.Errorf("the program is for %s, want %s", file.Machine, machine)
	}
	for _, segment := range file.Progs {
		if segment.Type == elf.PT_DYNAMIC || segment.Type == elf.PT_INTERP {
			t.Errorf("the program has a segment %v, want a static program", segment.Type)
		}
	}
	if onThisMachine(platform.OS + "_" + platform.Architecture) {
		if out := call(t, "", program, "--version"); !strings.HasPrefix(out, "gridlatch "+version+" (commit ") {
			t.Errorf("the program says %s", out)
		}
	}
}

// extract returns the path of the program, which must be the only file of an image.
func extract(t *testing.T, image v1.Image) string {
	t.Helper()
	content := mutate.Extract(image)
	defer content.Close()
	program := filepath.Join(t.TempDir(), "gridlatch")
	var names []string
	for reader := tar.NewReader(content); ; {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, header.Name)
		file, err := os.OpenFile(program, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o700)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(file, reader); err != nil {
			t.Fatal(err)
		}
		if err := file.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff([]string{"gridlatch"}, names); diff != "" {
		t.Fatalf("files of the image (-want +got):\n%s", diff)
	}
	return program
}
