package main

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	kustomization "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/fluxcd/pkg/apis/kustomize"
	"github.com/fluxcd/pkg/runtime/cel"
	source "github.com/fluxcd/source-controller/api/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

func fluxStatus(object *unstructured.Unstructured) (Health, error) {
	found, err := status.Compute(object)
	if err != nil {
		return Health{}, err
	}
	return Health{string(found.Status), found.Message}, nil
}

// withExpressions judges as a Kustomization with spec.healthCheckExprs does.
func withExpressions(file []byte) error {
	var expressions kustomize.HealthCheckExpressions
	if err := json.Unmarshal(file, &expressions); err != nil {
		return err
	}
	evaluator, err := cel.NewStatusEvaluator(&expressions)
	if err != nil {
		return err
	}
	return each(func(object *unstructured.Unstructured) (any, error) {
		found, err := evaluator.Evaluate(context.Background(), object)
		if err != nil {
			return nil, err
		}
		return Health{string(found.Status), found.Message}, nil
	})
}

var fluxKinds = map[schema.GroupVersionKind]func() any{
	kustomization.GroupVersion.WithKind(kustomization.KustomizationKind): func() any {
		return &kustomization.Kustomization{}
	},
	source.GroupVersion.WithKind(source.GitRepositoryKind): func() any {
		return &source.GitRepository{}
	},
}

// decoded reads an object into the type of Flux's own API, and refuses fields that it does not have.
func decoded(object *unstructured.Unstructured) (string, error) {
	kind := object.GroupVersionKind()
	made, known := fluxKinds[kind]
	if !known {
		return "", fmt.Errorf("%s is no kind of Flux's that is known here", kind)
	}
	into := made()
	strict := true
	err := runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(object.Object, into, strict)
	if err != nil {
		return "", fmt.Errorf("%s %s: %w", kind.Kind, object.GetName(), err)
	}
	return object.GetName(), nil
}
