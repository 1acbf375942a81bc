-- What conditions of agentid's kinds mean to Argo CD. The same for all four; docs/guides/gitops.md
-- explains it. Argo CD itself calls an object that is being deleted Progressing.
local health = { status = "Progressing", message = "Waiting for the controller" }

if obj.status == nil or obj.status.conditions == nil then
  return health
end
if obj.status.observedGeneration ~= obj.metadata.generation then
  -- What the conditions say is about an earlier spec.
  health.message = "Waiting for the controller to look at the spec"
  return health
end

local conditions = {}
for _, condition in ipairs(obj.status.conditions) do
  conditions[condition.type] = condition
end

-- The first that is True decides. Ready comes last: it stays True while a valid certificate is
-- left, whatever has become of the spec meanwhile. A suspended identity is as its spec says. Argo CD
-- has a word for that, but a sync with several waves would wait for it without end, and would not
-- take up the commit that resumes it.
local order = {
  { "Suspended", "Healthy" },
  { "Stalled", "Degraded" },
  { "Reconciling", "Progressing" },
  { "Ready", "Healthy" },
}
for _, each in ipairs(order) do
  local condition = conditions[each[1]]
  if condition ~= nil and condition.status == "True" then
    health.status = each[2]
    health.message = condition.reason .. ": " .. condition.message
    return health
  end
end

if conditions.Ready ~= nil then
  health.message = conditions.Ready.reason .. ": " .. conditions.Ready.message
end
return health
