package main

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"text/template"
	"time"

	"golang.org/x/sync/errgroup"
)

// downloads is where users find the files of a release.
const downloads = "https://github.com/gridlatch/gridlatch/releases/download/"

// checksums is the file with the SHA-256 of each file.
const checksums = "checksums.txt"

// publicKey is the file with the key that verifies the signatures. The key is no part of what the
// key signs.
const publicKey = "cosign.pub"

//go:embed krew.yaml.tmpl
var krewTemplate string

// finish makes all that needs no more from make, then pushes and signs.
func finish(ctx context.Context, r *release) error {
	for _, step := range []func() error{
		func() error { return r.listParts(ctx) },
		r.archivePlugins,
		r.writeKrew,
		r.writeChecksums,
		func() error { return r.publish(ctx) },
		func() error { return r.signChecksums(ctx) },
		r.explain,
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// inDist returns the path of a file of the release.
func (r *release) inDist(name, part string) string {
	return filepath.Join(r.dist, name+"-"+r.version+"-"+part)
}

// binary returns the path of a command that make has built.
func (r *release) binary(platform, command string) string {
	if isWindows(platform) {
		command += ".exe"
	}
	return filepath.Join(r.binaries, platform, command)
}

// listParts writes an SBOM of each program, in the format of CycloneDX.
func (r *release) listParts(ctx context.Context) error {
	for _, command := range []string{"gridlatch", plugin} {
		platforms, err := r.platforms(command)
		if err != nil {
			return err
		}
		err = forEach(platforms, func(platform string) error {
			began := time.Now()
			_, err := output(exec.CommandContext(ctx, r.sbom, "bin", "-json", "-std", "-noserial", "-notimestamp",
				"-version", r.version, "-output", r.bom(command, platform), r.binary(platform, command)))
			if err != nil {
				return fmt.Errorf("list the parts of %s: %w", command, err)
			}
			reportFile(began, r.bom(command, platform))
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// forEach does the work for all platforms, as many at once as there are processors.
func forEach(platforms []string, work func(platform string) error) error {
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	for _, platform := range platforms {
		group.Go(func() error { return work(platform) })
	}
	return group.Wait()
}

// bom returns the path of the SBOM of a program.
func (r *release) bom(command, platform string) string {
	return r.inDist(command, strings.ReplaceAll(platform, "_", "-")+".cdx.json")
}

// krewPlatform is an archive as the manifest of krew names archives.
type krewPlatform struct{ System, Architecture, Archive, SHA256, Program string }

// writeKrew writes the manifest from which krew installs the plugin.
func (r *release) writeKrew() error {
	began := time.Now()
	platforms, err := r.platforms(plugin)
	if err != nil {
		return err
	}
	var archives []krewPlatform
	for _, platform := range platforms {
		archive := r.pluginArchive(platform)
		sum, err := sumOf(archive)
		if err != nil {
			return err
		}
		p := toPlatform(platform)
		archives = append(archives, krewPlatform{p.OS, p.Architecture, filepath.Base(archive), sum, filepath.Base(r.binary(platform, plugin))})
	}
	manifest, err := template.New("krew").Parse(krewTemplate)
	if err != nil {
		return err
	}
	path := filepath.Join(r.dist, "gridlatch.yaml") // krew wants the name of the plugin
	err = create(path, func(w io.Writer) error {
		return manifest.Execute(w, map[string]any{"Version": r.version, "Downloads": downloads + r.version, "Platforms": archives})
	})
	if err != nil {
		return err
	}
	reportFile(began, path)
	return nil
}

// writeChecksums writes the SHA-256 of all files, as sha256sum reads them.
func (r *release) writeChecksums() error {
	began := time.Now()
	files, err := os.ReadDir(r.dist)
	if err != nil {
		return err
	}
	var lines strings.Builder
	for _, file := range files {
		if strings.HasPrefix(file.Name(), checksums) || file.Name() == publicKey {
			continue
		}
		sum, err := sumOf(filepath.Join(r.dist, file.Name()))
		if err != nil {
			return err
		}
		fmt.Fprintf(&lines, "%s  %s\n", sum, file.Name())
	}
	path := filepath.Join(r.dist, checksums)
	if err := os.WriteFile(path, []byte(lines.String()), publicMode); err != nil {
		return err
	}
	reportFile(began, path)
	return nil
}

func sumOf(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, file); err != nil {
		return "", fmt.Errorf("read %s: %w", path, err)
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// reportFile tells what was made, and how long it took.
func reportFile(began time.Time, path string) {
	size := ""
	if info, err := os.Stat(path); err == nil {
		size = fmt.Sprintf("%.1f MB", float64(info.Size())/1e6)
	}
	fmt.Printf("  %5.1fs  %9s  %s\n", time.Since(began).Seconds(), size, filepath.Join("dist", filepath.Base(path)))
}

// explain tells what is in dist, where the image is, and how users verify both.
func (r *release) explain() error {
	reference, err := os.ReadFile(filepath.Join(r.dist, "image.txt"))
	if err != nil {
		return err
	}
	image := strings.TrimSpace(string(reference))
	_, chart, err := r.names()
	if err != nil {
		return err
	}
	fmt.Printf("\n%s of commit %s is in dist\n", r.version, r.commit.hash)
	if r.push {
		fmt.Printf("pushed   %s\n         oci://%s\n", image, chart)
	} else {
		fmt.Printf("not pushed, because REGISTRY names no registry. install.yaml and the chart name\n         %s\n", image)
	}
	fmt.Printf("\nverify   cd dist && sha256sum --check %s\n", checksums)
	if r.key == "" {
		fmt.Println("not signed, because KEY names no key")
		return nil
	}
	const verify = "         cosign %s --key " + publicKey + " --insecure-ignore-tlog %s\n"
	fmt.Printf(verify, "verify-blob", "--bundle "+checksums+".sigstore.json "+checksums)
	if r.push {
		fmt.Printf(verify, "verify", image)
		fmt.Printf(verify, "verify", chart.String())
	}
	return nil
}
