package main

import (
	"fmt"
	"os"
	"path"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/buildkit/frontend/dockerfile/shell"
)

// recipe is what the Dockerfile says of the image.
type recipe struct {
	from, to   string // the name of the program in bin, and its path in the image
	user       string
	entrypoint []string
	labels     map[string]string
}

// readRecipe reads the Dockerfile, so that the image of a release is that of `make image`.
func readRecipe(dockerfile string) (recipe, error) {
	file, err := os.Open(dockerfile)
	if err != nil {
		return recipe{}, err
	}
	defer file.Close()
	parsed, err := parser.Parse(file)
	if err != nil {
		return recipe{}, fmt.Errorf("%s: %w", dockerfile, err)
	}
	stages, _, err := instructions.Parse(parsed.AST, nil)
	if err != nil {
		return recipe{}, fmt.Errorf("%s: %w", dockerfile, err)
	}
	if len(stages) != 1 || stages[0].BaseName != "scratch" {
		return recipe{}, fmt.Errorf("%s: want FROM scratch, and no other FROM", dockerfile)
	}
	r := recipe{labels: map[string]string{}}
	for _, command := range stages[0].Commands {
		if err := r.follow(command); err != nil {
			return recipe{}, fmt.Errorf("%s: %w", dockerfile, err)
		}
	}
	if r.to == "" {
		return recipe{}, fmt.Errorf("%s: want COPY bin/gridlatch", dockerfile)
	}
	return r, nil
}

// follow takes one instruction over.
func (r *recipe) follow(command instructions.Command) error {
	if quoted, ok := command.(instructions.SupportsSingleWordExpansion); ok {
		lex := shell.NewLex('\\')
		unquote := func(word string) (string, error) {
			plain, _, err := lex.ProcessWord(word, shell.EnvsFromSlice(nil))
			return plain, err
		}
		if err := quoted.Expand(unquote); err != nil {
			return err
		}
	}
	switch c := command.(type) {
	case *instructions.LabelCommand:
		for _, label := range c.Labels {
			r.labels[label.Key] = label.Value
		}
	case *instructions.CopyCommand:
		if len(c.SourcePaths) != 1 || r.to != "" {
			return fmt.Errorf("%s: want one file to copy", c)
		}
		r.from, r.to = path.Base(c.SourcePaths[0]), c.DestPath
	case *instructions.UserCommand:
		r.user = c.User
	case *instructions.EntrypointCommand:
		r.entrypoint = c.CmdLine
	default:
		return fmt.Errorf("%s: make release does not know this instruction", command.Name())
	}
	return nil
}
