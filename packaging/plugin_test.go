package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// checkPlugin installs the plugin of each platform by krew, which checks the sums and unpacks the
// archives.
func (m made) checkPlugin(t *testing.T) {
	manifest := filepath.Join(m.dist, "gridlatch.yaml")
	call(t, m.dist, tool(t, "VALIDATE_KREW_MANIFEST"), "-manifest", manifest, "-skip-install")

	platforms := []string{"darwin_amd64", "darwin_arm64", "linux_amd64", "linux_arm64", "windows_amd64", "windows_arm64"}
	r := &release{version: version, dist: m.dist}
	for _, platform := range platforms {
		t.Run(platform, func(t *testing.T) {
			home := t.TempDir()
			p := toPlatform(platform)
			krew := []string{
				"KREW_ROOT=" + home, "KREW_NO_UPGRADE_CHECK=1", "KREW_OS=" + p.OS, "KREW_ARCH=" + p.Architecture,
				tool(t, "KREW"), "install", "--no-update-index", "--manifest", manifest, "--archive", r.pluginArchive(platform),
			}
			call(t, m.dist, "env", krew...)
			store := filepath.Join(home, "store", "gridlatch", version)
			program := filepath.Base(r.binary(platform, plugin))
			entries, err := os.ReadDir(store)
			if err != nil {
				t.Fatal(err)
			}
			var names []string
			for _, entry := range entries {
				names = append(names, entry.Name())
			}
			if diff := cmp.Diff([]string{"LICENSE", program}, names); diff != "" {
				t.Errorf("files (-want +got):\n%s", diff)
			}
			if onThisMachine(platform) {
				if out := call(t, "", filepath.Join(home, "bin", "kubectl-gridlatch"), "version"); !strings.HasPrefix(out, "kubectl gridlatch "+version+" (commit ") {
					t.Errorf("the plugin says %s", out)
				}
			}
		})
	}
	t.Run("is not installed from an archive that was changed", func(t *testing.T) {
		archive := filepath.Join(t.TempDir(), "changed.tar.gz")
		if err := os.WriteFile(archive, append(read(t, r.pluginArchive("linux_amd64")), 0), 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := try(t.Context(), m.dist, "env", "KREW_ROOT="+t.TempDir(), "KREW_NO_UPGRADE_CHECK=1", "KREW_OS=linux", "KREW_ARCH=amd64",
			tool(t, "KREW"), "install", "--no-update-index", "--manifest", manifest, "--archive", archive)
		if err == nil {
			t.Errorf("krew has installed it:\n%s", out)
		}
	})
}
