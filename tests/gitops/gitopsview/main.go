// gitopsview says what Argo CD and Flux make of objects, by their own code: the Lua interpreter and
// the comparison of Argo CD, kstatus and the health expressions of Flux. It reads JSON from standard
// input and talks to no cluster.
package main

import (
	"encoding/json"
	"fmt"
	"os"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utiljson "k8s.io/apimachinery/pkg/util/json"
)

const usage = `usage: gitopsview COMMAND [FILE] < JSON
  health SCRIPT        Argo CD's health of each object of a list
  run SCRIPT           what a script of Argo CD's actions makes of an object
  drift [OPENAPI]      whether Argo CD shows each {config, live, predicted} of a list as OutOfSync
  kstatus              Flux's status of each object of a list
  expressions FILE     the same, by the health check expressions of a Kustomization
  decode               reads each object of a list as Flux does, and refuses unknown fields`

// Health is what a tool makes of one object.
type Health struct {
	Status  string `json:"status"`
	Message string `json:"message"`
}

func main() {
	if err := answer(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func answer(args []string) error {
	file := ""
	switch len(args) {
	case 1:
	case 2:
		content, err := os.ReadFile(args[1])
		if err != nil {
			return err
		}
		file = string(content)
	default:
		return fmt.Errorf("%s", usage)
	}
	switch args[0] {
	case "health":
		return each(func(object *unstructured.Unstructured) (any, error) {
			return argoHealth(object, file)
		})
	case "run":
		return runAction(file)
	case "drift":
		return drift([]byte(file))
	case "kstatus":
		return each(func(object *unstructured.Unstructured) (any, error) {
			return fluxStatus(object)
		})
	case "expressions":
		return withExpressions([]byte(file))
	case "decode":
		return each(func(object *unstructured.Unstructured) (any, error) {
			return decoded(object)
		})
	default:
		return fmt.Errorf("%s", usage)
	}
}

func each(judge func(*unstructured.Unstructured) (any, error)) error {
	var objects []json.RawMessage
	if err := read(&objects); err != nil {
		return err
	}
	said := make([]any, 0, len(objects))
	for _, raw := range objects {
		object, err := parsed(raw)
		if err != nil {
			return err
		}
		one, err := judge(object)
		if err != nil {
			return err
		}
		said = append(said, one)
	}
	return write(said)
}

// parsed reads an object as a client of the API server does: whole numbers are int64.
func parsed(raw []byte) (*unstructured.Unstructured, error) {
	if len(raw) == 0 || string(raw) == "null" {
		return nil, nil
	}
	content := map[string]any{}
	if err := utiljson.Unmarshal(raw, &content); err != nil {
		return nil, err
	}
	return &unstructured.Unstructured{Object: content}, nil
}

func read(into any) error {
	return json.NewDecoder(os.Stdin).Decode(into)
}

func write(said any) error {
	return json.NewEncoder(os.Stdout).Encode(said)
}
