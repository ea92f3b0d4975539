package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"
)

// checkSignatures verifies as docs/release.md tells users.
func (m made) checkSignatures(t *testing.T) {
	index, _ := m.pull(t)
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	platformImage := m.registry + "/gridlatch@" + manifest.Manifests[0].Digest.String()
	bundle := filepath.Join(m.dist, checksums+".sigstore.json")
	changed := filepath.Join(t.TempDir(), checksums)
	if err := os.WriteFile(changed, append(read(t, filepath.Join(m.dist, checksums)), '\n'), 0o600); err != nil {
		t.Fatal(err)
	}
	own, other := filepath.Join(m.dist, publicKey), filepath.Join(m.keys, "other.pub")
	for _, tc := range []struct {
		name      string
		verify    []string
		key       string
		isRefused bool
	}{
		{"the image", []string{"verify", m.image}, own, false},
		{"the chart", []string{"verify", m.registry + "/charts/gridlatch:" + version}, own, false},
		{"the chart by another key", []string{"verify", m.registry + "/charts/gridlatch:" + version}, other, true},
		{"the image by another key", []string{"verify", m.image}, other, true},
		{"the image of a platform", []string{"verify", platformImage}, own, false},
		{"the list of its parts", []string{"verify-attestation", "--type", "cyclonedx", platformImage}, own, false},
		{"the list of its parts by another key", []string{"verify-attestation", "--type", "cyclonedx", platformImage}, other, true},
		{"the checksums", []string{"verify-blob", "--bundle", bundle, filepath.Join(m.dist, checksums)}, own, false},
		{"the checksums by another key", []string{"verify-blob", "--bundle", bundle, filepath.Join(m.dist, checksums)}, other, true},
		{"changed checksums", []string{"verify-blob", "--bundle", bundle, changed}, own, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			args := append(tc.verify, "--insecure-ignore-tlog", "--key", tc.key)
			if out, err := try(t.Context(), m.dist, tool(t, "COSIGN"), args...); (err != nil) != tc.isRefused {
				t.Errorf("cosign %s: %v, want an error: %t\n%s", strings.Join(args, " "), err, tc.isRefused, out)
			}
		})
	}
}

// checkSums checks that each file is what checksums.txt says, and that no file is missing there.
func (m made) checkSums(t *testing.T) {
	call(t, m.dist, "sha256sum", "--check", "--strict", checksums)
	var listed, found []string
	for line := range strings.Lines(string(read(t, filepath.Join(m.dist, checksums)))) {
		listed = append(listed, strings.Fields(line)[1])
	}
	entries, err := os.ReadDir(m.dist)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if !strings.HasPrefix(entry.Name(), checksums) && entry.Name() != publicKey {
			found = append(found, entry.Name())
		}
	}
	if diff := cmp.Diff(found, listed); diff != "" {
		t.Errorf("files (-in dist +in %s):\n%s", checksums, diff)
	}
}

// checkManifests checks that all containers run the image that was pushed.
func (m made) checkManifests(t *testing.T) {
	images := regexp.MustCompile(`(?m)^\s*(?:- )?image: (\S+)$`).FindAllStringSubmatch(string(read(t, filepath.Join(m.dist, "install.yaml"))), -1)
	if len(images) < 3 { // the controller, the keeper of the certificates, and the exporter
		t.Errorf("install.yaml has %d containers, want at least 3", len(images))
	}
	for _, image := range images {
		if image[1] != m.image {
			t.Errorf("install.yaml has the image %s, want %s", image[1], m.image)
		}
	}
}

// checkChart checks that the chart has the version of the release, and installs the image that was pushed.
func (m made) checkChart(t *testing.T) {
	var about struct{ Version, AppVersion string }
	var values struct {
		Image struct{ Repository, Digest string }
	}
	archive := filepath.Join(m.dist, "gridlatch-"+version+".tgz")
	readYAML(t, archive, "gridlatch/Chart.yaml", &about)
	readYAML(t, archive, "gridlatch/values.yaml", &values)
	if about.Version != version || about.AppVersion != version {
		t.Errorf("the chart has the versions %+v, want %s", about, version)
	}
	if got := values.Image.Repository + "@" + values.Image.Digest; got != m.image {
		t.Errorf("the chart has the image %s, want %s", got, m.image)
	}

	helm, err := filepath.Abs("../bin/helm")
	if err != nil {
		t.Fatal(err)
	}
	pulled, remote := t.TempDir(), []string{"oci://" + m.registry + "/charts/gridlatch", "--version", version, "--plain-http"}
	call(t, pulled, helm, append([]string{"pull"}, remote...)...)
	if !bytes.Equal(read(t, filepath.Join(pulled, filepath.Base(archive))), read(t, archive)) {
		t.Error("Helm pulls another chart than the one in dist")
	}
	if shown := call(t, pulled, helm, append([]string{"template", "gridlatch"}, remote...)...); !strings.Contains(shown, m.image) {
		t.Errorf("what Helm renders of the pulled chart does not have the image %s", m.image)
	}
}

// readYAML reads a file of an archive.
func readYAML(t *testing.T, archive, name string, into any) {
	t.Helper()
	text := call(t, "", "tar", "--extract", "--gzip", "--to-stdout", "--file", archive, name)
	if err := yaml.Unmarshal([]byte(text), into); err != nil {
		t.Fatalf("%s of %s: %v", name, archive, err)
	}
}

// checkParts checks that the SBOM of each program names the libraries with their versions.
func (m made) checkParts(t *testing.T) {
	boms, err := filepath.Glob(filepath.Join(m.dist, "*.cdx.json"))
	if err != nil {
		t.Fatal(err)
	}
	if len(boms) != 8 { // two of the program, six of the plugin
		t.Errorf("%d SBOMs, want 8: %q", len(boms), boms)
	}
	client := strings.Fields(call(t, "..", "go", "list", "-m", "k8s.io/client-go"))[1]
	for _, path := range boms {
		var bom struct {
			Metadata struct {
				Component struct{ Name, Version string }
			}
			Components []struct{ Name, Version string }
		}
		if err := json.Unmarshal(read(t, path), &bom); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		if got := bom.Metadata.Component.Version; got != version {
			t.Errorf("%s is of the version %s", path, got)
		}
		for _, part := range []struct{ Name, Version string }{{"k8s.io/client-go", client}, {"std", strings.TrimSpace(call(t, "..", "go", "env", "GOVERSION"))}} {
			if !slices.Contains(bom.Components, part) {
				t.Errorf("%s does not name %s %s", path, part.Name, part.Version)
			}
		}
	}
}
