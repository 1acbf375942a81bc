package main

import (
	"context"
	"encoding/json"
	"strings"

	"github.com/argoproj/argo-cd/gitops-engine/pkg/diff"
	openapi "github.com/google/gnostic-models/openapiv2"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/managedfields"
	"k8s.io/kube-openapi/pkg/util/proto"
)

const metaModels = "io.k8s.apimachinery.pkg.apis.meta.v1."

// argoManager is who Argo CD is in managedFields.
const argoManager = "argocd-controller"

type comparison struct {
	// Config is what Git says.
	Config json.RawMessage `json:"config"`
	// Live is what the API server holds.
	Live json.RawMessage `json:"live"`
	// Predicted is what a dry run of a server-side apply by Argo CD answers; it is looked at where
	// the OpenAPI document of the API server is given.
	Predicted json.RawMessage `json:"predicted"`
}

type difference struct {
	Modified bool            `json:"modified"`
	Live     json.RawMessage `json:"live"`
	Wanted   json.RawMessage `json:"wanted"`
}

func drift(document []byte) error {
	var pairs []comparison
	if err := read(&pairs); err != nil {
		return err
	}
	var parser *managedfields.GvkParser
	if len(document) > 0 {
		made, err := parserOf(document)
		if err != nil {
			return err
		}
		parser = made
	}
	said := make([]difference, 0, len(pairs))
	for _, pair := range pairs {
		found, err := compared(pair, parser)
		if err != nil {
			return err
		}
		said = append(said, found)
	}
	return write(said)
}

func compared(pair comparison, parser *managedfields.GvkParser) (difference, error) {
	var none difference
	config, err := parsed(pair.Config)
	if err != nil {
		return none, err
	}
	live, err := parsed(pair.Live)
	if err != nil {
		return none, err
	}
	var options []diff.Option
	if parser != nil {
		options = []diff.Option{
			diff.WithServerSideDiff(true),
			diff.WithGVKParser(parser),
			diff.WithManager(argoManager),
			diff.WithServerSideDryRunner(answered(pair.Predicted)),
		}
	}
	found, err := diff.Diff(config, live, options...)
	if err != nil {
		return none, err
	}
	return difference{found.Modified, found.NormalizedLive, found.PredictedLive}, nil
}

// answered is a dry run that has been made already.
type answered string

func (a answered) Run(context.Context, *unstructured.Unstructured, string) (string, error) {
	return string(a), nil
}

// ourModels leaves of the models of an API server those of agentid, and what they are made of. Among
// the rest some are there twice, which the parser does not take.
type ourModels struct{ proto.Models }

func (m ourModels) ListModels() []string {
	var ours []string
	for _, name := range m.Models.ListModels() {
		if strings.HasPrefix(name, "dev.agentid.") || strings.HasPrefix(name, metaModels) {
			ours = append(ours, name)
		}
	}
	return ours
}

func parserOf(document []byte) (*managedfields.GvkParser, error) {
	read, err := openapi.ParseDocument(document)
	if err != nil {
		return nil, err
	}
	models, err := proto.NewOpenAPIData(read)
	if err != nil {
		return nil, err
	}
	return managedfields.NewGVKParser(ourModels{models}, false)
}
