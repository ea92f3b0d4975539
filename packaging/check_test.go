package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

func TestWhatCannotBecomeAReleaseIsRefused(t *testing.T) {
	registry := startRegistry(t)
	source, head := newRepository(t)
	dirty, _ := newRepository(t)
	writeFile(t, filepath.Join(dirty, "new.go"), "")
	tagged, _ := newRepository(t)
	call(t, tagged, "git", "-c", "tag.gpgSign=false", "tag", "v1.2.3")
	call(t, tagged, "git", "-c", "tag.gpgSign=false", "-c", "user.name=test", "-c", "user.email=test@example.com", "tag", "--annotate", "--message=test", "v1.2.4")
	commitEmpty(t, tagged)
	pushRandom(t, registry+"/same/gridlatch:v1.2.3", head)
	pushRandom(t, registry+"/another/gridlatch:v1.2.3", "0123456789")

	keys := t.TempDir()
	key, publicKey, noKey := filepath.Join(keys, "key"), filepath.Join(keys, "pub"), filepath.Join(keys, "no")
	const sealed = "-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED SIGSTORE PRIVATE KEY-----\n"
	writeFile(t, key, sealed)
	writeFile(t, publicKey, "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n")
	writeFile(t, noKey, "a password")
	t.Setenv("TEST_KEY", sealed)
	for _, tc := range []struct {
		name string
		args []string
		want string // empty: allowed
	}{
		{"a version of a clean tree", []string{"-version", "v1.2.3"}, ""},
		{"a version before the release", []string{"-version", "v1.2.3-rc.1"}, ""},
		{"with a key, and a registry to push to", []string{"-version", "v1.2.3", "-key", key, "-registry", registry + "/a/b", "-push"}, ""},
		{"with a key in a variable", []string{"-version", "v1.2.3", "-key", "env://TEST_KEY"}, ""},
		{"with a key that a cloud keeps", []string{"-version", "v1.2.3", "-key", "awskms:///alias/x"}, ""},
		{"no version", nil, "VERSION is missing"},
		{"a version without v", []string{"-version", "1.2.3"}, "VERSION=1.2.3: want vMAJOR.MINOR.PATCH"},
		{"half a version", []string{"-version", "v1.2"}, "VERSION=v1.2: want"},
		{"a version that no tag can have", []string{"-version", "v1.2.3+x"}, "VERSION=v1.2.3+x: want"},
		{"a version that is too long for a tag", []string{"-version", "v1.2.3-" + strings.Repeat("x", 122)}, "129 characters, want at most 128"},
		{"files that are not committed", []string{"-version", "v1.2.3", "-top", dirty}, "not committed: 1. A release is made of a commit: commit or remove\n  ?? new.go"},
		{"no repository", []string{"-version", "v1.2.3", "-top", t.TempDir()}, "find the commit that the release is made of"},
		{"a version that is a tag of an older commit", []string{"-version", "v1.2.3", "-top", tagged}, "VERSION=v1.2.3: git has this tag at commit"},
		{"a version that is an annotated tag of an older commit", []string{"-version", "v1.2.4", "-top", tagged}, "VERSION=v1.2.4: git has this tag at commit"},
		{"a key that is not there", []string{"-version", "v1.2.3", "-key", key + "s"}, "KEY=" + key + "s: want a file"},
		{"a file that is no key", []string{"-version", "v1.2.3", "-key", noKey}, "KEY=" + noKey + ": has no private key"},
		{"a public key", []string{"-version", "v1.2.3", "-key", publicKey}, "KEY=" + publicKey + ": has no private key"},
		{"a variable without a key", []string{"-version", "v1.2.3", "-key", "env://TEST_NO_KEY"}, "KEY=env://TEST_NO_KEY: has no private key"},
		{"a registry that is away", []string{"-version", "v1.2.3", "-registry", "127.0.0.1:1/a", "-push"}, "REGISTRY=127.0.0.1:1/a: cannot push"},
		{"a registry that lets nobody push", []string{"-version", "v1.2.3", "-registry", startRefusal(t) + "/a", "-push"}, "/gridlatch:v1.2.3: POST"},
		{"a registry that is no name", []string{"-version", "v1.2.3", "-registry", "https://ghcr.io/a"}, "REGISTRY=https://ghcr.io/a: want HOST/PATH"},
		{"a port that is no number", []string{"-version", "v1.2.3", "-registry", "ghcr.io:x/a"}, "REGISTRY=ghcr.io:x/a: want HOST/PATH"},
		{"a path with a tag", []string{"-version", "v1.2.3", "-registry", "ghcr.io/a:v1"}, "REGISTRY=ghcr.io/a:v1: want HOST/PATH"},
		{"a path that ends with a slash", []string{"-version", "v1.2.3", "-registry", "ghcr.io/a/"}, "REGISTRY=ghcr.io/a/: want HOST/PATH"},
		{"a path without a registry", []string{"-version", "v1.2.3", "-registry", "a"}, "REGISTRY=a: want HOST/PATH"},
		{"a version that the registry has of this commit", []string{"-version", "v1.2.3", "-registry", registry + "/same", "-push"}, ""},
		{"a version that the registry has of another commit", []string{"-version", "v1.2.3", "-registry", registry + "/another", "-push"}, `of commit "0123456789" already`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			args := append([]string{"check", "-top", source, "-registry", "example.com/a"}, tc.args...)
			err := run(t.Context(), args)
			switch {
			case tc.want == "" && err != nil:
				t.Errorf("%v", err)
			case tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)):
				t.Errorf("error %v, want one with %q", err, tc.want)
			}
		})
	}
}

// newRepository returns a repository with one commit, and the hash of the commit.
func newRepository(t *testing.T) (dir, head string) {
	t.Helper()
	dir = t.TempDir()
	call(t, dir, "git", "init", "--quiet")
	commitEmpty(t, dir)
	return dir, strings.TrimSpace(call(t, dir, "git", "rev-parse", "HEAD"))
}

func commitEmpty(t *testing.T, dir string) {
	t.Helper()
	call(t, dir, "git", "-c", "user.name=test", "-c", "user.email=test@example.com", "-c", "commit.gpgSign=false",
		"commit", "--quiet", "--allow-empty", "--message=test")
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// pushRandom pushes an image of a commit.
func pushRandom(t *testing.T, image, commit string) {
	t.Helper()
	tag, err := name.NewTag(image)
	if err != nil {
		t.Fatal(err)
	}
	index := mutate.Annotations(randomIndex(t), map[string]string{revisionLabel: commit}).(v1.ImageIndex)
	if err := remote.WriteIndex(tag, index); err != nil {
		t.Fatal(err)
	}
}

// startRefusal starts a registry on loopback that nobody may push to, and returns its address.
func startRefusal(t *testing.T) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet {
			w.WriteHeader(http.StatusForbidden)
		}
	}))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

func TestAPushedVersionNeverChanges(t *testing.T) {
	r := &release{version: "v1.2.3", registry: startRegistry(t) + "/project"}
	image, _, err := r.names()
	if err != nil {
		t.Fatal(err)
	}
	index, other := randomIndex(t), randomIndex(t)
	for range 2 { // the second time, the registry has it
		if err := r.pushTo(t.Context(), image, index); err != nil {
			t.Fatal(err)
		}
	}
	err = r.pushTo(t.Context(), image, other)
	if err == nil || !strings.Contains(err.Error(), "A version never changes") {
		t.Errorf("error %v, want a refusal", err)
	}
	if got := pulledDigest(t, image); got != digestOf(t, index) {
		t.Errorf("the registry has %s now", got)
	}
}

func TestARegistryKeepsTheChartAsHelmWants(t *testing.T) {
	r := &release{version: "v1.2.3", registry: startRegistry(t) + "/project", dist: t.TempDir()}
	archive := writeChart(t, r.dist)
	chart, err := r.chartImage()
	if err != nil {
		t.Fatal(err)
	}
	_, tag, err := r.names()
	if err != nil {
		t.Fatal(err)
	}
	if err := r.pushTo(t.Context(), tag, chart); err != nil {
		t.Fatal(err)
	}
	pulled, err := remote.Image(tag)
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := pulled.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	config, err := pulled.RawConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	got := []string{string(manifest.Config.MediaType), string(config), string(manifest.Layers[0].MediaType), manifest.Layers[0].Digest.Hex}
	sum, err := sumOf(archive)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"application/vnd.cncf.helm.config.v1+json", `{"name":"gridlatch","version":"v1.2.3"}`, "application/vnd.cncf.helm.chart.content.v1.tar+gzip", sum}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the registry has (-want +got):\n%s", diff)
	}
}

// writeChart writes a chart that has nothing but its name and version, and returns its path.
func writeChart(t *testing.T, dist string) string {
	t.Helper()
	archive := filepath.Join(dist, "gridlatch-v1.2.3.tgz")
	about := entry{name: "gridlatch/Chart.yaml", mode: publicMode, content: []byte("name: gridlatch\nversion: v1.2.3\n")}
	if err := writeTarGz(archive, []entry{about}, time.Time{}); err != nil {
		t.Fatal(err)
	}
	return archive
}

func TestNoChartIsPushedWithoutItsImage(t *testing.T) {
	r := &release{version: "v1.2.3", registry: startRegistry(t) + "/project", push: true, top: "..", dist: t.TempDir(), binaries: t.TempDir()}
	writeChart(t, r.dist)
	if err := os.MkdirAll(filepath.Join(r.binaries, "linux_amd64"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(r.binary("linux_amd64", "gridlatch"), []byte("a program"), programMode); err != nil {
		t.Fatal(err)
	}
	image, chart, err := r.names()
	if err != nil {
		t.Fatal(err)
	}
	if err := r.pushTo(t.Context(), image, randomIndex(t)); err != nil {
		t.Fatal(err)
	}
	if err := r.publish(t.Context()); err == nil || !strings.Contains(err.Error(), "A version never changes") {
		t.Errorf("error %v, want a refusal", err)
	}
	if _, err := remote.Head(chart); !isNotFound(err) {
		t.Errorf("the registry has the chart, or says: %v", err)
	}
}

func randomIndex(t *testing.T) v1.ImageIndex {
	t.Helper()
	index, err := random.Index(10, 1, 1)
	if err != nil {
		t.Fatal(err)
	}
	return index
}

func digestOf(t *testing.T, index v1.ImageIndex) v1.Hash {
	t.Helper()
	digest, err := index.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return digest
}

func pulledDigest(t *testing.T, image name.Tag) v1.Hash {
	t.Helper()
	found, err := remote.Head(image)
	if err != nil {
		t.Fatal(err)
	}
	return found.Digest
}
