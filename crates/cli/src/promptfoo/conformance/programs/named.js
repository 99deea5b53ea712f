function shorter(output) { return output.length < 6; }
module.exports = { shorter };
