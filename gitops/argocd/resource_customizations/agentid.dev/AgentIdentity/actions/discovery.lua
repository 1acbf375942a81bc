local deleting = obj.metadata.deletionTimestamp ~= nil
local suspended = obj.spec.suspend == true
local certificate = obj.status ~= nil and obj.status.certificate

return {
  renew = { displayName = "Renew", disabled = deleting or suspended or not certificate },
  suspend = { displayName = "Suspend", disabled = deleting or suspended },
  resume = { displayName = "Resume", disabled = deleting or not suspended },
}
