package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	corev1 "k8s.io/api/core/v1"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"

	"github.com/gridlatch/gridlatch/forecast"
)

// maxFile bounds what is read of a forecast: a ConfigMap holds 1 MiB, and base64 and YAML add to it.
const maxFile = 16 << 20

// readForecast reads the exporter's array, or the ConfigMap that holds it.
func readForecast(e env, file, key string) (forecast.Document, error) {
	data, err := readFile(e, file)
	if err != nil {
		return forecast.Document{}, err
	}
	text := bytes.TrimSpace(bytes.TrimPrefix(data, []byte("\ufeff")))
	var issue forecast.Document
	switch {
	case len(text) == 0:
		err = errors.New("it is empty: want the exporter's JSON array, or the manifest of its ConfigMap")
	case text[0] == '[':
		issue, err = forecast.Parse(data)
		err = locate(data, err)
	default:
		issue, err = readManifest(text, key)
	}
	if err != nil {
		return forecast.Document{}, fmt.Errorf("%s: %w", file, err)
	}
	return issue, nil
}

func readFile(e env, file string) ([]byte, error) {
	source := e.stdin
	if file != "-" {
		opened, err := os.Open(file)
		if err != nil {
			return nil, err
		}
		defer opened.Close()
		source = opened
	}
	data, err := io.ReadAll(io.LimitReader(source, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", file, err)
	}
	if len(data) > maxFile {
		return nil, fmt.Errorf("%s is larger than %d MiB", file, maxFile>>20)
	}
	return data, nil
}

// locate says where in the file JSON is broken.
func locate(data []byte, err error) error {
	broken, ok := errors.AsType[*json.SyntaxError](err)
	if !ok {
		return err
	}
	before := data[:min(int(broken.Offset), len(data))]
	line := bytes.Count(before, []byte("\n")) + 1
	column := len(before) - bytes.LastIndexByte(before, '\n') - 1
	return fmt.Errorf("line %d, column %d: %w", line, max(column, 1), err)
}

// readManifest reads the first ConfigMap among the documents of a manifest.
func readManifest(text []byte, key string) (forecast.Document, error) {
	const want = "want the exporter's JSON array, or the manifest of its ConfigMap"
	decoder := utilyaml.NewYAMLOrJSONDecoder(bytes.NewReader(text), 4096)
	kinds := ""
	for {
		var object corev1.ConfigMap
		err := decoder.Decode(&object)
		if errors.Is(err, io.EOF) {
			return forecast.Document{}, fmt.Errorf("it has no ConfigMap%s: %s", kinds, want)
		}
		if err != nil {
			return forecast.Document{}, fmt.Errorf("%w: %s", err, want)
		}
		if object.Kind == "ConfigMap" {
			return forecast.FromConfigMap(object.BinaryData, object.Data, key, object.CreationTimestamp.Time)
		}
		if object.Kind != "" {
			kinds += ", but a " + object.Kind
		}
	}
}
