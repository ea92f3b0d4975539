// Package image_test builds the image of the Dockerfile and checks what is in it.
package image_test

import (
	"archive/tar"
	"bytes"
	"debug/elf"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// top is the source tree, seen from here.
const top = "../.."

func TestImageIsTheProgramAndNothingElse(t *testing.T) {
	if testing.Short() {
		t.Skip("the test builds the image, which takes a minute")
	}
	image := build(t)

	t.Run("it runs the program as a user without rights", func(t *testing.T) {
		got := image.config
		if want := []string{"/gridlatch"}; !cmp.Equal(want, got.Entrypoint) {
			t.Errorf("entrypoint %q, want %q", got.Entrypoint, want)
		}
		if len(got.Cmd) > 0 {
			t.Errorf("further arguments %q, want none", got.Cmd)
		}
		if want := "65532:65532"; got.User != want {
			t.Errorf("user %q, want %q", got.User, want)
		}
	})
	t.Run("it says what it is", func(t *testing.T) {
		for _, label := range []string{"title", "description", "source", "licenses"} {
			if label = "org.opencontainers.image." + label; image.config.Labels[label] == "" {
				t.Errorf("label %s is missing", label)
			}
		}
	})
	t.Run("its only file is the program", func(t *testing.T) {
		if diff := cmp.Diff([]string{"gridlatch"}, image.files); diff != "" {
			t.Fatalf("files (-want +got):\n%s", diff)
		}
	})
	t.Run("the program needs no other file", func(t *testing.T) {
		program, err := elf.Open(image.program)
		if err != nil {
			t.Fatal(err)
		}
		defer program.Close()
		for _, segment := range program.Progs {
			if segment.Type == elf.PT_DYNAMIC || segment.Type == elf.PT_INTERP {
				t.Errorf("it has a segment %v, want a static program", segment.Type)
			}
		}
	})
	t.Run("no client for LDAP or NTLM is in it", func(t *testing.T) { // package certs says how they come into go.mod
		program, err := os.ReadFile(image.program)
		if err != nil {
			t.Fatal(err)
		}
		if signs := "cert-manager/pkg/util/pki.SignCertificate"; !bytes.Contains(program, []byte(signs)) {
			t.Errorf("%s is not in the program: the program has no names of functions, and the test sees nothing", signs)
		}
		for _, client := range []string{"go-ldap/ldap/v3.(*Conn)", "go-ldap/ldap/v3.DialURL", "Azure/go-ntlmssp."} {
			if bytes.Contains(program, []byte(client)) {
				t.Errorf("%s is in the program", client)
			}
		}
	})
	t.Run("the program prints its usage", func(t *testing.T) {
		output, err := exec.CommandContext(t.Context(), image.program, "--help").CombinedOutput()
		if err != nil || !strings.Contains(string(output), "Usage:") {
			t.Errorf("--help: %v, want usage:\n%s", err, output)
		}
	})
}

// built is an image, unpacked.
type built struct {
	config  config
	files   []string // the paths of all files in all layers
	program string   // where the program of the image is now
}

// config is what the image says about how to run it.
type config struct {
	Entrypoint, Cmd []string
	User            string
	Labels          map[string]string
}

// build builds the image from the Dockerfile and bin/gridlatch, in a store of its own.
func build(t *testing.T) built {
	t.Helper()
	if _, err := exec.LookPath("buildah"); err != nil {
		t.Skip("the image is not tested: buildah is not installed, and only root can have make install it with apt-get")
	}
	if _, err := os.Stat(filepath.Join(top, "bin", "gridlatch")); err != nil {
		t.Fatalf("%v; run: make build", err)
	}
	dir := t.TempDir()
	buildah := func(args ...string) {
		t.Helper()
		// Neither kernel features nor rights beyond those of a plain sandbox.
		store := []string{"--root", dir + "/root", "--runroot", dir + "/run", "--storage-driver", "vfs"}
		command := exec.CommandContext(t.Context(), "buildah", append(store, args...)...)
		if output, err := command.CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", command, err, output)
		}
	}
	buildah("bud", "--isolation", "chroot", "--tag", "gridlatch:test", top)
	buildah("push", "gridlatch:test", "docker-archive:"+dir+"/image.tar:gridlatch:test")
	return unpack(t, dir)
}

// unpack reads dir/image.tar, in the format of docker save.
func unpack(t *testing.T, dir string) built {
	t.Helper()
	image := filepath.Join(dir, "image.tar")
	var manifest []struct {
		Config string
		Layers []string
	}
	readJSON(t, image, "manifest.json", &manifest)
	if len(manifest) != 1 {
		t.Fatalf("the archive has %d images, want 1", len(manifest))
	}
	var about struct{ Config config }
	readJSON(t, image, manifest[0].Config, &about)
	result := built{config: about.Config, program: filepath.Join(dir, "program")}
	for i, name := range manifest[0].Layers {
		layer := filepath.Join(dir, "layer")
		extract(t, image, name, layer, 0o600)
		walk(t, layer, func(header *tar.Header, _ io.Reader) {
			if header.Typeflag != tar.TypeDir {
				result.files = append(result.files, header.Name)
			}
		})
		if i == 0 {
			extract(t, layer, "gridlatch", result.program, 0o700)
		}
	}
	return result
}

// walk calls visit for every entry of a tar file.
func walk(t *testing.T, archive string, visit func(*tar.Header, io.Reader)) {
	t.Helper()
	file, err := os.Open(archive)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	reader := tar.NewReader(file)
	for {
		header, err := reader.Next()
		if err == io.EOF {
			return
		}
		if err != nil {
			t.Fatalf("%s: %v", archive, err)
		}
		visit(header, reader)
	}
}

// extract copies one file out of a tar file.
func extract(t *testing.T, archive, name, path string, mode os.FileMode) {
	t.Helper()
	found := false
	walk(t, archive, func(header *tar.Header, content io.Reader) {
		if header.Name != name {
			return
		}
		found = true
		file, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, mode)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(file, content); err != nil {
			t.Error(err)
		}
		if err := file.Close(); err != nil {
			t.Fatal(err)
		}
	})
	if !found {
		t.Fatalf("%s has no %s", archive, name)
	}
}

func readJSON(t *testing.T, archive, name string, into any) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "json")
	extract(t, archive, name, path, 0o600)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, into); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}
