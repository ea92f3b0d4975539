package main

import (
	"bytes"
	"context"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/registry"
)

const version = "v1.2.3"

// made is a release that `make release` has made, pushed and signed.
type made struct {
	dist     string
	registry string // HOST:PORT/PATH on loopback
	keys     string // directory with cosign.pub and other.pub
	image    string // the reference of the image with its digest
}

// TestARelease makes a release as a maintainer does, and looks at all of it as a user does.
func TestARelease(t *testing.T) {
	if testing.Short() {
		t.Skip("the test makes a release twice, which takes minutes")
	}
	m := made{registry: startRegistry(t) + "/project", keys: t.TempDir()}
	for _, prefix := range []string{"cosign", "other"} {
		m.cosign(t, "generate-key-pair", "--output-key-prefix", filepath.Join(m.keys, prefix))
	}
	first := copySource(t)
	m.dist = filepath.Join(first, "dist")
	told := m.make(t, first)
	m.image = strings.TrimSpace(string(read(t, filepath.Join(m.dist, "image.txt"))))
	if !strings.Contains(told, m.image) {
		t.Errorf("make release does not tell the reference %s:\n%s", m.image, told)
	}

	t.Run("the image", m.checkImage)
	t.Run("the signatures", m.checkSignatures)
	t.Run("the checksums", m.checkSums)
	t.Run("the manifests", m.checkManifests)
	t.Run("the chart", m.checkChart)
	t.Run("the plugin", m.checkPlugin)
	t.Run("the lists of parts", m.checkParts)
	t.Run("what cannot become a release leaves the files", func(t *testing.T) { m.checkRefused(t, first) })
	t.Run("a real node pulls the image", m.checkNode)
	t.Run("made again elsewhere, it is the same", func(t *testing.T) { m.checkMadeAgain(t, first) })
}

// checkRefused asks for a release that cannot be made, in a tree that has a release.
func (m made) checkRefused(t *testing.T, top string) {
	key := "KEY=" + filepath.Join(m.keys, "cosign.key")
	for name, release := range map[string][]string{
		"no version":           {"VERSION=", key},
		"a version of no kind": {"VERSION=v1:2", key},
		"a wrong password":     {"VERSION=" + version, key, "COSIGN_PASSWORD=not this one"},
	} {
		t.Run(name, func(t *testing.T) {
			if out, err := try(t.Context(), top, "make", append([]string{"--no-print-directory", "release"}, release...)...); err == nil {
				t.Errorf("want an error, and make told:\n%s", out)
			}
			m.checkSums(t)
		})
	}
}

// checkNode installs the release on a real node, which is in another module.
func (m made) checkNode(t *testing.T) {
	t.Parallel()
	const required = "GRIDLATCH_NODE"
	if out, err := try(t.Context(), "..", "bin/node/gridlatch-node", "check"); err != nil && os.Getenv("CI") == "" && os.Getenv(required) != "required" {
		t.Skipf("this machine cannot run a real node: %s", out)
	}
	t.Log(call(t, "..", "env", required+"=required", "GRIDLATCH_DIST="+m.dist,
		"go", "test", "-count=1", "-v", "-run=^TestANodePullsTheRelease$", "./test/install"))
}

// checkMadeAgain makes the release once more of a clone, as somebody else would: in another directory,
// with other times and modes of files, and with other settings of the shell and of Go.
func (m made) checkMadeAgain(t *testing.T, source string) {
	t.Parallel()
	elsewhere := []string{"env", "TZ=Asia/Kathmandu", "LC_ALL=C", "GOAMD64=v2", "GOARM64=v8.1", "GOFLAGS=-ldflags=-w",
		"bash", "-c", `umask 077; exec "$@"`, "bash"}
	again := filepath.Join(t.TempDir(), "elsewhere")
	call(t, source, elsewhere[0], append(elsewhere[1:], "git", "clone", "--quiet", source, again)...)
	link(t, filepath.Join(source, "bin"), filepath.Join(again, "bin"))
	m.make(t, again, elsewhere...)
	want, got := read(t, filepath.Join(m.dist, checksums)), read(t, filepath.Join(again, "dist", checksums))
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(string(got), "\n")); diff != "" {
		t.Errorf("checksums (-first +second):\n%s", diff)
	}
	t.Run("compiled without what was compiled before", func(t *testing.T) {
		const dir = "bin/release/linux_arm64"
		if err := os.RemoveAll(filepath.Join(again, dir)); err != nil {
			t.Fatal(err)
		}
		call(t, again, "env", "GOCACHE="+t.TempDir(), "make", "--no-print-directory", dir, "VERSION="+version)
		for _, program := range []string{"gridlatch", plugin} {
			if !bytes.Equal(read(t, filepath.Join(source, dir, program)), read(t, filepath.Join(again, dir, program))) {
				t.Errorf("%s differs", program)
			}
		}
	})
}

// startRegistry starts a registry on loopback and returns its address.
func startRegistry(t *testing.T) string {
	t.Helper()
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0)), registry.WithReferrersSupport(true)))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

// make runs `make release` in a source tree and returns what make tells. The prefix is a command that
// runs make.
func (m made) make(t *testing.T, top string, prefix ...string) string {
	t.Helper()
	command := append(slices.Clone(prefix), "make", "--no-print-directory", "release", "VERSION="+version, "REGISTRY="+m.registry, "KEY="+filepath.Join(m.keys, "cosign.key"))
	return call(t, top, command[0], command[1:]...)
}

// cosign runs the pinned cosign.
func (m made) cosign(t *testing.T, args ...string) string {
	t.Helper()
	return call(t, m.dist, tool(t, "COSIGN"), args...)
}

// tool returns the path of a tool that make has built for this test.
func tool(t *testing.T, variable string) string {
	t.Helper()
	path := os.Getenv(variable)
	if path == "" {
		t.Fatalf("%s names no tool; run: make test-release", variable)
	}
	return path
}

// call runs a command in a directory and returns what the command prints.
func call(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	out, err := try(t.Context(), dir, name, args...)
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return out
}

// try runs a command that may fail. The password is that of the keys of this test.
func try(ctx context.Context, dir, name string, args ...string) (string, error) {
	command := exec.CommandContext(ctx, name, args...)
	var out bytes.Buffer
	command.Dir, command.Stdout, command.Stderr = dir, &out, &out
	command.Env = append(os.Environ(), "COSIGN_PASSWORD=only a test")
	// A make above this test passes its own variables and its job server on.
	command.Env = slices.DeleteFunc(command.Env, func(variable string) bool {
		return strings.HasPrefix(variable, "MAKE") || strings.HasPrefix(variable, "MFLAGS") || strings.HasPrefix(variable, "VERSION=")
	})
	err := command.Run()
	return out.String(), err
}

// copySource returns a repository whose only commit has all files of this source tree. The commit is
// the same each time.
func copySource(t *testing.T) string {
	t.Helper()
	top, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	source := filepath.Join(t.TempDir(), "gridlatch")
	copyTree(t, top, source)
	link(t, filepath.Join(top, "bin"), filepath.Join(source, "bin"))
	call(t, source, "git", "init", "--quiet", "--initial-branch=main")
	call(t, source, "git", "add", "--all")
	call(t, source, "env", "GIT_AUTHOR_DATE=2026-01-02T03:04:05Z", "GIT_COMMITTER_DATE=2026-01-02T03:04:05Z",
		"git", "-c", "user.name=test", "-c", "user.email=test@example.com", "-c", "commit.gpgSign=false", "commit", "--quiet", "--message=test")
	return source
}

// copyTree copies what git would track.
func copyTree(t *testing.T, from, to string) {
	t.Helper()
	unversioned := []string{".git", ".cluster", "bin", "dist"}
	entries, err := os.ReadDir(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(to, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if slices.Contains(unversioned, entry.Name()) {
			continue
		}
		if entry.IsDir() {
			err = os.CopyFS(filepath.Join(to, entry.Name()), os.DirFS(filepath.Join(from, entry.Name())))
		} else {
			err = os.WriteFile(filepath.Join(to, entry.Name()), read(t, filepath.Join(from, entry.Name())), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// link lets a source tree use what another one has built. What a release builds is not used.
func link(t *testing.T, from, to string) {
	t.Helper()
	if err := os.MkdirAll(to, 0o755); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(from)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if name := entry.Name(); !slices.Contains([]string{"release", "gridlatch", plugin}, name) {
			if err := os.Symlink(filepath.Join(from, name), filepath.Join(to, name)); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// onThisMachine reports whether a program of a platform, such as linux_amd64, runs here.
func onThisMachine(platform string) bool { return platform == runtime.GOOS+"_"+runtime.GOARCH }
