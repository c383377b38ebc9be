-- What several scripts share.

-- An item of ours is `jira-agent/1 <id, 26 characters> <header as JSON>`, a line feed, and the body. Everything else on
-- the list is a body that another program put there.
local MARK, ID, HEADER = 'jira-agent/1 ', 26, 41

local function id_of(item)
  if string.sub(item, 1, #MARK) == MARK and string.sub(item, HEADER - 1, HEADER - 1) == ' ' then
    return string.sub(item, #MARK + 1, #MARK + ID)
  end
  return nil
end

-- The same item as one that was handed out before; `deaths` is added to the deaths of workers that held it. No two turns of
-- an item are equal, so that whoever still holds an earlier one cannot take this one off the list.
local function returned(item, deaths)
  local line = string.find(item, '\n', 1, true)
  if not id_of(item) or not line then
    return item
  end
  local read, header = pcall(cjson.decode, string.sub(item, HEADER, line - 1))
  if not read or type(header) ~= 'table' then
    header = {}
  end
  header.redelivered = true
  header.turn = (tonumber(header.turn) or 0) + 1
  header.returns = (tonumber(header.returns) or 0) + deaths
  return string.sub(item, 1, HEADER - 1) .. cjson.encode(header) .. string.sub(item, line)
end
