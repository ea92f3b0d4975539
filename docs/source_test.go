package docs_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"go/ast"
	"go/constant"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// module is the path of the module.
const module = "github.com/gridlatch/gridlatch"

// top is the top of the source tree.
const top = ".."

// A goPackage is a package of the program as go list describes it.
type goPackage struct {
	ImportPath string
	Dir        string
	Doc        string // the first sentence of its comment
	GoFiles    []string
	Imports    []string
}

// source is the source of the program without its tests. It imports only packages of the module:
// a constant needs no others to be evaluated.
type source struct {
	files    *token.FileSet
	packages map[string]goPackage      // by import path
	checked  map[string]*types.Package // likewise
	syntax   []*ast.File
	info     types.Info
}

// program returns the source of the program, which is read once.
var program = sync.OnceValues(readSource)

func readSource() (*source, error) {
	list := exec.Command("go", "list", "-json=ImportPath,Dir,Doc,GoFiles,Imports", "./...")
	list.Dir = top
	printed, err := list.Output()
	if err != nil {
		return nil, err
	}
	s := &source{
		files: token.NewFileSet(), packages: map[string]goPackage{}, checked: map[string]*types.Package{},
		info: types.Info{Types: map[ast.Expr]types.TypeAndValue{}, Defs: map[*ast.Ident]types.Object{}},
	}
	for decoder := json.NewDecoder(bytes.NewReader(printed)); ; {
		var p goPackage
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, err
		}
		if !strings.HasPrefix(p.ImportPath, module+"/test") && len(p.GoFiles) > 0 {
			s.packages[p.ImportPath] = p
		}
	}
	for path := range s.packages {
		if _, err := s.Import(path); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// Import implements types.Importer.
func (s *source) Import(path string) (*types.Package, error) {
	p, ours := s.packages[path]
	if !ours {
		return nil, errors.New("no package of the module")
	}
	if checked, ok := s.checked[path]; ok {
		return checked, nil
	}
	var files []*ast.File
	for _, name := range p.GoFiles {
		file, err := parser.ParseFile(s.files, filepath.Join(p.Dir, name), nil, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		files = append(files, file)
	}
	config := types.Config{Importer: s, Error: func(error) {}} // of what is not imported
	checked, _ := config.Check(path, s.files, files, &s.info)
	s.checked[path], s.syntax = checked, append(s.syntax, files...)
	return checked, nil
}

// read returns the source of the program.
func read(t *testing.T) *source {
	t.Helper()
	s, err := program()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// texts returns the value of every constant expression that is a text.
func (s *source) texts() set {
	found := set{}
	for _, expression := range s.info.Types {
		if value := expression.Value; value != nil && value.Kind() == constant.String {
			found[constant.StringVal(value)] = true
		}
	}
	for _, object := range s.constants("") {
		found[object] = true
	}
	return found
}

// constants returns the values of the text constants whose names begin with a prefix, by package
// and name.
func (s *source) constants(prefix string) map[string]string {
	found := map[string]string{}
	for _, object := range s.info.Defs {
		c, ok := object.(*types.Const)
		if ok && strings.HasPrefix(c.Name(), prefix) && c.Val().Kind() == constant.String {
			found[c.Pkg().Path()+"."+c.Name()] = constant.StringVal(c.Val())
		}
	}
	return found
}

// of returns the values of the text constants of a named type.
func (s *source) of(typeName string) set {
	found := set{}
	for _, object := range s.info.Defs {
		if c, ok := object.(*types.Const); ok && c.Type().String() == typeName && c.Val().Kind() == constant.String {
			found[constant.StringVal(c.Val())] = true
		}
	}
	return found
}

// arguments returns the constant texts that are the argument at an index of calls of a method.
func (s *source) arguments(method string, index int) set {
	found := set{}
	for _, file := range s.syntax {
		ast.Inspect(file, func(node ast.Node) bool {
			call, ok := node.(*ast.CallExpr)
			if !ok || len(call.Args) <= index {
				return true
			}
			called, ok := call.Fun.(*ast.SelectorExpr)
			value := s.info.Types[call.Args[index]].Value
			if ok && called.Sel.Name == method && value != nil && value.Kind() == constant.String {
				found[constant.StringVal(value)] = true
			}
			return true
		})
	}
	return found
}
