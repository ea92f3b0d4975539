package main

import (
	"archive/tar"
	"archive/zip"
	"compress/gzip"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const (
	publicMode  = 0o644
	programMode = 0o755
)

// plugin is the name of the users' command.
const plugin = "kubectl-gridlatch"

// entry is a file of an archive.
type entry struct {
	name    string
	mode    fs.FileMode
	content []byte
}

// archivePlugins packs the plugin of each platform with the licence.
func (r *release) archivePlugins() error {
	platforms, err := r.platforms(plugin)
	if err != nil {
		return err
	}
	license, err := os.ReadFile(filepath.Join(r.top, "LICENSE"))
	if err != nil {
		return err
	}
	return forEach(platforms, func(platform string) error {
		began := time.Now()
		program := r.binary(platform, plugin)
		content, err := os.ReadFile(program)
		if err != nil {
			return err
		}
		archive, write := r.pluginArchive(platform), writeTarGz
		if isWindows(platform) {
			write = writeZip
		}
		entries := []entry{{"LICENSE", publicMode, license}, {filepath.Base(program), programMode, content}}
		if err := write(archive, entries, r.commit.time); err != nil {
			return err
		}
		reportFile(began, archive)
		return nil
	})
}

// pluginArchive returns the path of the archive with the plugin of a platform. Windows opens zip
// files by itself.
func (r *release) pluginArchive(platform string) string {
	ending := ".tar.gz"
	if isWindows(platform) {
		ending = ".zip"
	}
	return r.inDist(plugin, strings.ReplaceAll(platform, "_", "-")+ending)
}

func isWindows(platform string) bool { return strings.HasPrefix(platform, "windows_") }

func writeTar(path string, entries []entry, modified time.Time) error {
	return create(path, func(w io.Writer) error { return addToTar(w, entries, modified) })
}

func writeTarGz(path string, entries []entry, modified time.Time) error {
	return create(path, func(w io.Writer) error {
		zipped := gzip.NewWriter(w)
		return errors.Join(addToTar(zipped, entries, modified), zipped.Close())
	})
}

// addToTar writes files that root owns.
func addToTar(w io.Writer, entries []entry, modified time.Time) error {
	archive := tar.NewWriter(w)
	for _, e := range entries {
		header := &tar.Header{Name: e.name, Mode: int64(e.mode), Size: int64(len(e.content)), ModTime: modified}
		if err := archive.WriteHeader(header); err != nil {
			return err
		}
		if _, err := archive.Write(e.content); err != nil {
			return err
		}
	}
	return archive.Close()
}

func writeZip(path string, entries []entry, modified time.Time) error {
	return create(path, func(w io.Writer) error {
		archive := zip.NewWriter(w)
		for _, e := range entries {
			header := &zip.FileHeader{Name: e.name, Method: zip.Deflate, Modified: modified}
			header.SetMode(e.mode)
			file, err := archive.CreateHeader(header)
			if err != nil {
				return err
			}
			if _, err := file.Write(e.content); err != nil {
				return err
			}
		}
		return archive.Close()
	})
}

// readTree returns all files below a directory, in the order of their names.
func readTree(dir string) ([]entry, error) {
	var entries []entry
	files := os.DirFS(dir)
	err := fs.WalkDir(files, ".", func(name string, found fs.DirEntry, err error) error {
		if err != nil || found.IsDir() {
			return err
		}
		content, err := fs.ReadFile(files, name)
		entries = append(entries, entry{name, publicMode, content})
		return err
	})
	return entries, err
}

func create(path string, write func(io.Writer) error) error {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, publicMode)
	if err != nil {
		return err
	}
	return errors.Join(write(file), file.Close())
}
