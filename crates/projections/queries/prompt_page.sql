-- The cards in use by title, each with the version that the label means. Versions are another read model, which may be a
-- moment behind: until it has the version, the newest stands in for its text.
select title, tags, metadata, updated_at, card.version, labels, chosen,
       case when chosen = card.version then card.prompt else coalesce(v.prompt, card.prompt) end as prompt
from (
    select tenant_id, id, title, tags, metadata, updated_at, version, labels, prompt,
           coalesce((labels ->> $3)::bigint, version) as chosen
    from read.card
    where tenant_id = $1
      and not archived
      and ($2::text is null or title = $2)
      and ($3::text is null or $3 = 'latest' or jsonb_typeof(labels -> $3) = 'number')
      and ($4::text is null or tags @> array[$4])
      and ($5::timestamptz is null or updated_at >= $5)
      and ($6::timestamptz is null or updated_at < $6)
    order by title, id
    limit $7 offset $8
) as card
left join read.card_version v
       on v.tenant_id = card.tenant_id and v.card_id = card.id and v.version = card.chosen and chosen <> card.version
order by title, card.id
