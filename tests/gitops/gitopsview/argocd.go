package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	lua "github.com/yuin/gopher-lua"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// argoHealth runs a script as Argo CD does. It asks none about an object that is being deleted
// (gitops-engine, pkg/health, GetResourceHealth).
func argoHealth(object *unstructured.Unstructured, script string) (Health, error) {
	if object.GetDeletionTimestamp() != nil {
		return Health{"Progressing", "Pending deletion"}, nil
	}
	var said Health
	value, err := run(object, script)
	if err != nil {
		return said, err
	}
	if err := convert(value, &said); err != nil {
		return said, err
	}
	switch said.Status {
	case "Healthy", "Suspended", "Degraded", "Progressing", "Missing", "Unknown":
		return said, nil
	}
	return said, fmt.Errorf("%q is no health of Argo CD", said.Status)
}

func runAction(script string) error {
	var raw json.RawMessage
	if err := read(&raw); err != nil {
		return err
	}
	object, err := parsed(raw)
	if err != nil {
		return err
	}
	value, err := run(object, script)
	if err != nil {
		return err
	}
	return write(mended(value, object.Object))
}

// mended makes objects again of what were empty ones: an empty table of Lua is taken for a list.
// Argo CD does the same before it patches (argo-cd, util/lua, cleanReturnedObj).
func mended(made, before any) any {
	switch before := before.(type) {
	case map[string]any:
		switch made := made.(type) {
		case map[string]any:
			for key, each := range made {
				made[key] = mended(each, before[key])
			}
		case []any:
			if len(made) == 0 {
				return map[string]any{}
			}
		}
	case []any:
		if made, ok := made.([]any); ok {
			for index := range min(len(made), len(before)) {
				made[index] = mended(made[index], before[index])
			}
		}
	}
	return made
}

// run gives a script what Argo CD gives it: the object as obj, no library but base, table and
// package, and of os only time and date; one second (argo-cd, util/lua).
func run(object *unstructured.Unstructured, script string) (any, error) {
	state := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer state.Close()
	for name, open := range map[string]lua.LGFunction{
		lua.LoadLibName: lua.OpenPackage,
		lua.BaseLibName: lua.OpenBase,
		lua.TabLibName:  lua.OpenTable,
	} {
		call := lua.P{Fn: state.NewFunction(open), Protect: true}
		if err := state.CallByParam(call, lua.LString(name)); err != nil {
			return nil, err
		}
	}
	state.PreloadModule(lua.OsLibName, safeOs)
	limit, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	state.SetContext(limit)
	state.SetGlobal("obj", toLua(state, object.Object))
	if err := state.DoString(script); err != nil {
		return nil, err
	}
	return fromLua(state.Get(-1)), nil
}

func safeOs(state *lua.LState) int {
	lua.OpenOs(state)
	whole := state.CheckTable(-1)
	safe := state.NewTable()
	for _, name := range []string{"time", "date"} {
		safe.RawSetString(name, whole.RawGetString(name))
	}
	state.Push(safe)
	return 1
}

func toLua(state *lua.LState, value any) lua.LValue {
	switch value := value.(type) {
	case map[string]any:
		table := state.NewTable()
		for key, each := range value {
			table.RawSetString(key, toLua(state, each))
		}
		return table
	case []any:
		table := state.NewTable()
		for _, each := range value {
			table.Append(toLua(state, each))
		}
		return table
	case bool:
		return lua.LBool(value)
	case string:
		return lua.LString(value)
	case int64:
		return lua.LNumber(value)
	case float64:
		return lua.LNumber(value)
	}
	return lua.LNil
}

// fromLua makes an empty table an empty list, as Argo CD's encoder does.
func fromLua(value lua.LValue) any {
	switch value := value.(type) {
	case *lua.LTable:
		if key, _ := value.Next(lua.LNil); key == lua.LNil || key.Type() == lua.LTNumber {
			list := []any{}
			value.ForEach(func(_, each lua.LValue) { list = append(list, fromLua(each)) })
			return list
		}
		object := map[string]any{}
		value.ForEach(func(key, each lua.LValue) { object[key.String()] = fromLua(each) })
		return object
	case lua.LBool:
		return bool(value)
	case lua.LString:
		return string(value)
	case lua.LNumber:
		return float64(value)
	}
	return nil
}

func convert(value any, into any) error {
	text, err := json.Marshal(value)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, into)
}
